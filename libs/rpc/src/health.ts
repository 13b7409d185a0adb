// SPDX-License-Identifier: Apache-2.0
import { HealthCheckResponse_ServingStatus as Serving, HealthDefinition } from '@cilium-ts/proto';
import { status } from '@grpc/grpc-js';
import { RpcError, type RpcServer } from './server.ts';

const WATCH_MS = 1000;

/** grpc.health.v1 for the given names; '' asks for the server as a whole. */
export function addHealth(server: RpcServer, names: readonly string[], serving: () => boolean): void {
  const present = (): Serving => (serving() ? Serving.SERVING : Serving.NOT_SERVING);
  const isKnown = (name: string): boolean => name === '' || names.includes(name);
  server.addService(HealthDefinition, {
    check: ({ service }) => {
      if (!isKnown(service))
        throw new RpcError(status.NOT_FOUND, `unknown service ${JSON.stringify(service)}`);
      return { status: present() };
    },
    watch: async ({ service }, out) => {
      let told: Serving | undefined;
      while (!out.signal.aborted) {
        const now = isKnown(service) ? present() : Serving.SERVICE_UNKNOWN;
        if (now !== told) out.write({ status: now });
        told = now;
        await pause(WATCH_MS, out.signal);
      }
    },
  });
}

/** Resolves after `ms`, or at once when the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
