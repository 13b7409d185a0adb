// SPDX-License-Identifier: Apache-2.0
// Hubble on a node: events in; gRPC on a unix socket and TCP, and metrics, out.
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { Lifecycle, type Logger, type Stoppable } from '@cilium-ts/base';
import { buildFlow, flowUuid, type EventSource, type FlowLookups } from '@cilium-ts/flow';
import { ObserverDefinition, PeerDefinition, type Flow } from '@cilium-ts/proto';
import { addHealth, addReflection, RpcServer } from '@cilium-ts/rpc';
import { createMetrics, type Metrics } from '@cilium-ts/telemetry';
import { FlowMetrics, parseFlowMetrics } from './flow-metrics.ts';
import { FlowIntake } from './intake.ts';
import { SeenNamespaces } from './namespaces.ts';
import { OBSERVER_HEALTH_NAME, observerHandlers, type ObserverState } from './observer.ts';
import { peerHandlers, type PeerNodes } from './peers.ts';
import { FlowRing, isLost } from './ring.ts';

export interface HubbleConfig {
  /** Path of the unix socket. */
  readonly socketPath: string;
  /** `:4244`; empty for none. */
  readonly listenAddress: string;
  /** Flows kept. */
  readonly capacity: number;
  /** Names of flow metrics, empty for all; undefined for no metrics at all. */
  readonly metrics: string | undefined;
}

export interface HubblePorts {
  readonly source: EventSource;
  readonly lookups: FlowLookups;
  readonly nodes: PeerNodes;
  readonly config: HubbleConfig;
  readonly logger: Logger;
}

export interface Hubble extends Stoppable {
  status(): { current: number; max: number; perSecond: number; metrics: boolean };
  /** A flow that is still here. */
  flow(uuid: string): Flow | undefined;
  /** The flow metrics; undefined where they are off. */
  readonly metrics: Metrics | undefined;
}

const DEFAULT_PORT = 4244;

const unixNow = (): bigint => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));

/** @throws AppError `listen`, `bad-config` */
export async function startHubble(ports: HubblePorts): Promise<Hubble> {
  const { config, source, lookups, logger } = ports;
  const lifecycle = new Lifecycle();
  const ring = new FlowRing(config.capacity);
  const namespaces = new SeenNamespaces();
  const state: ObserverState = { ring, lookups, namespaces, now: unixNow, startedAt: unixNow() };
  const metrics = config.metrics === undefined ? undefined : createMetrics();
  const counters = metrics && new FlowMetrics(metrics, parseFlowMetrics(config.metrics ?? ''));
  if (metrics) lifecycle.onStop(() => metrics.stop());
  lifecycle.add(
    new FlowIntake({
      source,
      lookups,
      ring,
      namespaces,
      now: unixNow,
      onLost: (from, count) => counters?.lost(from, count),
      ...(counters ? { see: (facts) => counters.see(facts), flush: () => counters.flush() } : {}),
    }),
  );
  try {
    lifecycle.add(await serve(ports, state));
  } catch (error) {
    await lifecycle.stop();
    throw error;
  }
  logger.info({ capacity: ring.capacity, socket: config.socketPath }, 'hubble started');
  return {
    metrics,
    status: () => ({
      current: ring.length,
      max: ring.capacity,
      perSecond: ring.rate(unixNow()),
      metrics: metrics !== undefined,
    }),
    flow: (uuid) => findFlow(ring, lookups, uuid),
    stop: () => lifecycle.stop(),
  };
}

function findFlow(ring: FlowRing, lookups: FlowLookups, uuid: string): Flow | undefined {
  for (let at = ring.end - 1; at >= ring.start; at--) {
    const entry = ring.at(at);
    if (entry && !isLost(entry) && flowUuid(lookups, entry) === uuid) return buildFlow(lookups, entry);
  }
  return undefined;
}

async function serve(
  { config, lookups, nodes, logger }: HubblePorts,
  state: ObserverState,
): Promise<RpcServer> {
  const { listenAddress, socketPath } = config;
  const headers = { 'hubble-server-version': lookups.version };
  const server = new RpcServer({ headers, logger });
  const port = Number(listenAddress.slice(listenAddress.lastIndexOf(':') + 1)) || DEFAULT_PORT;
  const { clusterName } = lookups;
  const fullName = (name: string): string => (clusterName === 'default' ? name : `${clusterName}/${name}`);
  server.addService(ObserverDefinition, observerHandlers(state));
  server.addService(PeerDefinition, peerHandlers(nodes, port, fullName));
  addHealth(server, [OBSERVER_HEALTH_NAME, ObserverDefinition.fullName, PeerDefinition.fullName], () => true);
  addReflection(server);
  mkdirSync(dirname(socketPath), { recursive: true });
  await server.listen(`unix://${socketPath}`);
  if (listenAddress !== '') await server.listen(listenAddress);
  return server;
}
