// SPDX-License-Identifier: Apache-2.0
// One CiliumEndpoint per local pod: how the rest of the cluster learns addresses and identities.
import type { Logger } from '@cilium-ts/base';
import {
  CILIUM_ENDPOINTS,
  isAlreadyExists,
  isNotFound,
  type KubeClient,
  type NewObject,
  type Reflector,
  type UntypedObject,
} from '@cilium-ts/kube';
import { Reconciler, type ReconcilerStatus, type TableReader } from '@cilium-ts/tables';
import type { EndpointRow } from '../rows.ts';
import { isHost } from './endpoint-rows.ts';

export interface Publication {
  readonly namespace: string;
  readonly name: string;
  readonly podUid: string;
  readonly status: Record<string, unknown>;
}

export interface PolicyFlagsOf {
  (row: EndpointRow): { readonly ingress: boolean; readonly egress: boolean };
}

function publicationOf(row: EndpointRow, nodeIp: string, enforced: PolicyFlagsOf): Publication {
  const { ingress, egress } = enforced(row);
  return {
    namespace: row.namespace,
    name: row.podName,
    podUid: row.podUid,
    status: {
      id: row.id,
      state: row.state,
      identity: { id: row.identity, labels: [...row.labels] },
      networking: {
        addressing: [{ ...(row.ipv4 ? { ipv4: row.ipv4 } : {}), ...(row.ipv6 ? { ipv6: row.ipv6 } : {}) }],
        node: nodeIp,
      },
      policy: {
        ingress: { enforcing: ingress, state: ingress ? 'enforcing' : '<status disabled>' },
        egress: { enforcing: egress, state: egress ? 'enforcing' : '<status disabled>' },
      },
      'named-ports': row.namedPorts.map((port) => ({ ...port })),
      'external-identifiers': {
        'container-id': row.containerId,
        'cni-attachment-id': `${row.containerId}:${row.interfaceName}`,
        'k8s-namespace': row.namespace,
        'k8s-pod-name': row.podName,
        'pod-name': `${row.namespace}/${row.podName}`,
      },
    },
  };
}

/** All rows side by side; the errors by key. */
async function each(
  rows: readonly (readonly [string, Publication])[],
  work: (row: Publication) => Promise<void>,
): Promise<ReadonlyMap<string, unknown>> {
  const errors = new Map<string, unknown>();
  await Promise.all(rows.map(([key, row]) => work(row).catch((error: unknown) => errors.set(key, error))));
  return errors;
}

export class EndpointPublisher {
  readonly #client: KubeClient;
  readonly #reconciler: Reconciler<Publication>;
  readonly #unwatch: () => void;
  /** UID of the pod that owns the object, as last written. */
  readonly #owners = new Map<string, string>();

  constructor(options: {
    readonly client: KubeClient;
    readonly endpoints: TableReader<EndpointRow>;
    readonly published: Reflector<UntypedObject>;
    readonly nodeIp: string;
    readonly enforced: PolicyFlagsOf;
    readonly logger: Logger;
  }) {
    const { client, endpoints, published, nodeIp, enforced, logger } = options;
    this.#client = client;
    this.#reconciler = new Reconciler<Publication>({
      name: 'cilium-endpoints',
      logger,
      equal: (a, b) => a.podUid === b.podUid && JSON.stringify(a.status) === JSON.stringify(b.status),
      target: {
        update: (rows) => each(rows, (row) => this.#write(row)),
        delete: (rows) => each(rows, (row) => this.#delete(row)),
        prune: async (wanted) => {
          const mine = published.store.list().filter((object) => {
            const networking = object.status?.['networking'] as { node?: string } | undefined;
            return networking?.node === nodeIp;
          });
          const stale = mine.filter(({ metadata }) => !wanted.has(`${metadata.namespace}/${metadata.name}`));
          for (const { metadata } of stale) {
            await this.#delete({
              namespace: metadata.namespace ?? '',
              name: metadata.name,
              podUid: '',
              status: {},
            });
          }
        },
      },
    });
    const put = (row: EndpointRow): void => {
      const publishable = row.podName !== '' && !isHost(row) && row.state === 'ready';
      if (publishable)
        this.#reconciler.set(`${row.namespace}/${row.podName}`, publicationOf(row, nodeIp, enforced));
    };
    for (const row of endpoints.values()) put(row);
    this.#unwatch = endpoints.watch((changes) => {
      for (const { before, after } of changes) {
        if (after) put(after);
        else if (before && endpoints.find('pod', `${before.namespace}/${before.podName}`).length === 0) {
          this.#reconciler.unset(`${before.namespace}/${before.podName}`);
        }
      }
    });
    void published.synced.then(() => this.#reconciler.prune());
  }

  async #write(row: Publication): Promise<void> {
    const { namespace, name, podUid, status } = row;
    const key = `${namespace}/${name}`;
    // The object of an earlier pod of that name would be collected with it: the owner is written first.
    if (this.#owners.get(key) !== podUid) await this.#claim(row);
    this.#owners.set(key, podUid);
    try {
      await this.#client.patch(
        CILIUM_ENDPOINTS,
        { namespace, name },
        'merge',
        { status },
        { subresource: 'status' },
      );
    } catch (error) {
      // Deleted by somebody: the next try makes it again.
      this.#owners.delete(key);
      throw error;
    }
  }

  async #claim({ namespace, name, podUid }: Publication): Promise<void> {
    const owner = { apiVersion: 'v1', kind: 'Pod', name, uid: podUid };
    const metadata = { name, namespace, ...(podUid === '' ? {} : { ownerReferences: [owner] }) };
    try {
      await this.#client.create(CILIUM_ENDPOINTS, { metadata } as NewObject<UntypedObject>);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      await this.#client.patch(CILIUM_ENDPOINTS, { namespace, name }, 'merge', { metadata });
    }
  }

  async #delete({ namespace, name }: Publication): Promise<void> {
    this.#owners.delete(`${namespace}/${name}`);
    try {
      await this.#client.delete(CILIUM_ENDPOINTS, { namespace, name });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  status(): ReconcilerStatus {
    return this.#reconciler.status();
  }

  stop(): void {
    this.#unwatch();
    this.#reconciler.stop();
  }
}
