// SPDX-License-Identifier: Apache-2.0
// Without a policy-compiler one of the agents says in the policies' status what became of them.
import { systemClock, type Logger } from '@cilium-ts/base';
import {
  ConditionWriter,
  LeaderElector,
  POLICY_STATUS_RESOURCES,
  type KubeClient,
  type KubeObject,
  type WantedConditions,
} from '@cilium-ts/kube';
import { conditionsOf, type PolicyFeed, type PolicyName, type PolicyRevision } from '@cilium-ts/policy';

export interface EmbeddedStatusOptions {
  readonly client: KubeClient;
  readonly log: Logger;
  readonly feed: PolicyFeed;
  readonly node: string;
  /** Where the lease is. */
  readonly namespace: string;
  readonly objectOf: (id: PolicyName) => KubeObject | undefined;
}

/** Each agent judges for itself, so `Enforced` tells of the one node that writes. */
export class EmbeddedStatus {
  readonly #options: EmbeddedStatusOptions;
  readonly #writer: ConditionWriter;
  readonly #elector: LeaderElector;
  #published: number | undefined;
  #realised = 0;
  #error: string | undefined;

  constructor(options: EmbeddedStatusOptions) {
    this.#options = options;
    const { client, log, namespace, node } = options;
    this.#writer = new ConditionWriter(client, systemClock, log, () => this.#conditions());
    this.#elector = new LeaderElector({
      client,
      namespace,
      name: 'cilium-policy-status',
      identity: node,
      onStarted: () => this.#writer.changed(),
      onStopped: () => undefined,
      log,
    });
  }

  start(): void {
    this.#elector.start();
  }

  async stop(): Promise<void> {
    this.#writer.stop();
    await this.#elector.stop();
  }

  /** A policy object came, changed or went. */
  changed(): void {
    this.#writer.changed();
  }

  published(revision: number): void {
    this.#published = revision;
    this.#writer.changed();
  }

  realised(at: PolicyRevision, error: string | undefined): void {
    this.#realised = at.revision;
    this.#error = error === undefined ? undefined : `${this.#options.node}: ${error}`;
    this.#writer.changed();
  }

  #conditions(): WantedConditions[] {
    if (!this.#elector.isLeader) return [];
    const { feed, node, objectOf } = this.#options;
    const revision = this.#published;
    const acknowledged = revision !== undefined && this.#realised >= revision ? 1 : 0;
    const progress = {
      revision,
      acknowledged,
      nodes: 1,
      error: this.#error,
      seenFrom: ` (seen from ${node})`,
    };
    return [...feed.states()].flatMap((state) => {
      const resource = POLICY_STATUS_RESOURCES.get(state.id.kind);
      const object = objectOf(state.id);
      return resource && object ? [{ resource, object, conditions: conditionsOf(state, progress) }] : [];
    });
  }
}
