// SPDX-License-Identifier: Apache-2.0
// Labels of a local pod to its identity: the operator gives the number, here it is looked up and waited for.
import {
  formatLabel,
  IDENTITY_INIT,
  labelFilter,
  labelSetKey,
  podIdentityLabels,
  type LabelFilter,
} from '@cilium-ts/identity';
import type { Namespace, Pod, Reflector } from '@cilium-ts/kube';
import type { TableReader } from '@cilium-ts/tables';
import type { IdentityRow, NamedPort } from '../rows.ts';

export interface PodFacts {
  readonly uid: string;
  readonly identity: number;
  readonly labels: readonly string[];
  readonly namedPorts: readonly NamedPort[];
  readonly resolved: boolean;
}

export const UNRESOLVED_IDENTITY = {
  identity: IDENTITY_INIT,
  labels: ['reserved:init'],
  resolved: false,
} as const;

const UNRESOLVED: PodFacts = { uid: '', namedPorts: [], ...UNRESOLVED_IDENTITY };

export class PodIdentities {
  readonly #pods: Reflector<Pod>;
  readonly #namespaces: Reflector<Namespace>;
  readonly #identities: TableReader<IdentityRow>;
  readonly #cluster: string;
  readonly #filter: LabelFilter;
  readonly #listeners = new Set<() => void>();

  constructor(
    sources: {
      readonly pods: Reflector<Pod>;
      readonly namespaces: Reflector<Namespace>;
      readonly identities: TableReader<IdentityRow>;
    },
    cluster: string,
    filter: string,
  ) {
    this.#pods = sources.pods;
    this.#namespaces = sources.namespaces;
    this.#identities = sources.identities;
    this.#cluster = cluster;
    this.#filter = labelFilter(filter);
    const tell = (): void => {
      for (const listener of [...this.#listeners]) listener();
    };
    this.#pods.subscribe({ onAdd: tell, onUpdate: tell });
    this.#namespaces.subscribe({ onAdd: tell, onUpdate: tell });
    this.#identities.watch(tell);
  }

  /** Called whenever any pod's identity may have changed. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  lookup(namespace: string, name: string): PodFacts {
    const pod = this.#pods.store.getByName(namespace, name);
    const space = this.#namespaces.store.get(namespace);
    if (!pod || !space) return UNRESOLVED;
    const labels = podIdentityLabels(
      {
        namespace,
        labels: pod.metadata.labels ?? {},
        namespaceLabels: space.metadata.labels ?? {},
        serviceAccount: pod.spec?.serviceAccountName ?? '',
        cluster: this.#cluster,
      },
      this.#filter,
    );
    const uid = pod.metadata.uid ?? '';
    const namedPorts = (pod.spec?.containers ?? []).flatMap(({ ports }) =>
      (ports ?? []).flatMap(({ name: portName, containerPort: port, protocol = 'TCP' }) =>
        portName ? [{ name: portName, port, protocol }] : [],
      ),
    );
    // Duplicates may exist for a moment: the lowest number wins on every node.
    const found = this.#identities.find('key', labelSetKey(labels)).sort((a, b) => a.id - b.id)[0];
    if (!found) return { ...UNRESOLVED, uid, namedPorts };
    return { uid, identity: found.id, labels: labels.map(formatLabel).sort(), namedPorts, resolved: true };
  }

  /** The facts as soon as there is an identity, or what is known after `timeoutMs`. */
  async resolve(namespace: string, name: string, timeoutMs: number): Promise<PodFacts> {
    const now = this.lookup(namespace, name);
    if (now.resolved) return now;
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        stop();
        resolve(this.lookup(namespace, name));
      };
      const timer = setTimeout(done, timeoutMs);
      const stop = this.onChange(() => {
        if (this.lookup(namespace, name).resolved) done();
      });
    });
  }
}
