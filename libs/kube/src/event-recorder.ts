// SPDX-License-Identifier: Apache-2.0
import { errorMessage, silentLogger, type Logger } from '@cilium-ts/base';
import type { KubeClient } from './client.ts';
import { isNotFound } from './errors.ts';
import { EVENTS } from './resources.ts';
import type { KubeObject } from './wire.ts';

export interface EventRecorderOptions {
  readonly client: KubeClient;
  /** Shown by `kubectl describe` as the source, e.g. `default-scheduler`, `kubelet`. */
  readonly component: string;
  /** Node name, for events of a kubelet. */
  readonly host?: string | undefined;
  readonly log?: Logger | undefined;
}

/** The object an event is about; `apiVersion` and `kind` must be known. */
export interface EventSubject extends KubeObject {
  apiVersion: string;
  kind: string;
}

interface Occurrence {
  readonly subject: EventSubject;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
  readonly fieldPath: string | undefined;
}

interface Known {
  readonly name: string;
  readonly namespace: string;
  count: number;
  /** The last write about this event; writes follow each other. */
  chain: Promise<void>;
}

const MAX_KNOWN = 2000;

/** Writes core/v1 events in the background; the same event again raises the count of the first. */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #log: Logger;
  readonly #known = new Map<string, Known>();

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
  }

  event(
    subject: EventSubject,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
    fieldPath?: string,
  ): void {
    const { uid = '', name } = subject.metadata;
    const key = [uid, name, type, reason, fieldPath ?? '', message].join('\n');
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    let known = this.#known.get(key);
    if (known) {
      known.count++;
      this.#known.delete(key);
    } else {
      const id = `${Date.now().toString(16)}${Math.floor(Math.random() * 0xffffff).toString(16)}`;
      const namespace = subject.metadata.namespace || 'default';
      known = { name: `${name}.${id}`, namespace, count: 1, chain: Promise.resolve() };
    }
    this.#known.set(key, known);
    this.#trim();
    const entry = known;
    const count = entry.count;
    entry.chain = entry.chain
      .then(() => this.#write(entry, count, now, { subject, type, reason, message, fieldPath }))
      .catch((error: unknown) => {
        this.#known.delete(key);
        this.#log.debug({ reason, subject: name, error: errorMessage(error) }, 'event not written');
      });
  }

  /** Resolves when everything recorded so far is written or given up. */
  async flush(): Promise<void> {
    await Promise.all([...this.#known.values()].map((known) => known.chain));
  }

  #trim(): void {
    for (const key of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN) return;
      this.#known.delete(key);
    }
  }

  async #write(known: Known, count: number, now: string, occurrence: Occurrence): Promise<void> {
    const { client, component, host } = this.#options;
    if (count > 1) {
      if (count < known.count) return; // a later write in the chain carries the newer count
      try {
        await client.patch(EVENTS, known, 'merge', { count, lastTimestamp: now });
        return;
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
    const { subject, type, reason, message, fieldPath } = occurrence;
    const { metadata } = subject;
    await client.create(EVENTS, {
      metadata: { name: known.name, namespace: known.namespace },
      involvedObject: {
        apiVersion: subject.apiVersion,
        kind: subject.kind,
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        resourceVersion: metadata.resourceVersion,
        fieldPath,
      },
      type,
      reason,
      message: message.slice(0, 1024),
      count,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component, host },
      reportingComponent: component,
      reportingInstance: host ?? '',
    });
  }
}
