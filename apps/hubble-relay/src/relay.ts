// SPDX-License-Identifier: Apache-2.0
import { hostname } from 'node:os';
import { Lifecycle, type Stoppable } from '@cilium-ts/base';
import { ObserverDefinition } from '@cilium-ts/proto';
import { addHealth, addReflection, RPC_STATUS, RpcError, RpcServer } from '@cilium-ts/rpc';
import {
  createMetrics,
  metricsAnswer,
  parseListenAddress,
  serveText,
  type ComponentLogger,
  type Metrics,
} from '@cilium-ts/telemetry';
import { clusterNamespaces, clusterNodes, clusterStatus } from './cluster-status.ts';
import { FlowFanIn } from './flow-fan-in.ts';
import { isAvailable, PeerPool } from './peer-pool.ts';
import type { RelayConfig } from './relay-config.ts';

export const VERSION = '0.1.0';
const OBSERVER_HEALTH_NAME = 'hubble.server.Observer';

export interface Relay extends Stoppable {
  readonly port: number;
}

/** @throws AppError `listen` */
export async function startRelay(config: RelayConfig, logger: ComponentLogger): Promise<Relay> {
  const life = new Lifecycle();
  const pool = life.add(new PeerPool(config.peerService, config.retryTimeoutMs, logger).start());
  const serving = (): boolean => pool.connected && pool.peers().some(isAvailable);
  try {
    const server = life.add(observerServer(config, pool, serving, logger));
    const port = await server.listen(config.listenAddress);
    if (config.healthListenAddress !== '') {
      const health = life.add(new RpcServer({ logger }));
      addHealth(health, [OBSERVER_HEALTH_NAME], serving);
      await health.listen(config.healthListenAddress);
    }
    if (config.metricsListenAddress !== '') life.add(await serveMetrics(config.metricsListenAddress, pool));
    return { port, stop: () => life.stop() };
  } catch (error) {
    await life.stop();
    throw error;
  }
}

function observerServer(
  config: RelayConfig,
  pool: PeerPool,
  serving: () => boolean,
  logger: ComponentLogger,
): RpcServer {
  const version = `hubble-relay v${VERSION}`;
  const server = new RpcServer({ headers: { 'hubble-relay-version': version }, logger });
  const unsupported = (what: string) => () => {
    throw new RpcError(RPC_STATUS.UNIMPLEMENTED, `${what} are not relayed: ask an agent`);
  };
  const options = {
    nodeName: hostname(),
    sortBufferMax: config.sortBufferMax,
    sortBufferDrainMs: config.sortBufferDrainMs,
  };
  server.addService(ObserverDefinition, {
    getFlows: (request, out) => {
      if (request.first && request.follow) {
        throw new RpcError(RPC_STATUS.INVALID_ARGUMENT, 'first cannot be combined with follow');
      }
      return new FlowFanIn(pool, request, out, options).run();
    },
    getAgentEvents: unsupported('agent events'),
    getDebugEvents: unsupported('debug events'),
    getNodes: () => clusterNodes(pool),
    getNamespaces: () => clusterNamespaces(pool),
    serverStatus: () => clusterStatus(pool, version),
  });
  addHealth(server, [OBSERVER_HEALTH_NAME, ObserverDefinition.fullName], serving);
  addReflection(server);
  return server;
}

const STATE_LABELS = {
  idle: 'IDLE',
  connecting: 'CONNECTING',
  ready: 'READY',
  'transient-failure': 'TRANSIENT_FAILURE',
  shutdown: 'SHUTDOWN',
} as const;

function registerMetrics(metrics: Metrics, pool: PeerPool): void {
  const name = 'hubble_relay_pool_peer_connection_status';
  metrics.observe(name, 'Connections to agents by state', 'gauge', (report) => {
    const states = pool.states();
    for (const [state, label] of Object.entries(STATE_LABELS)) {
      report(states.get(state as keyof typeof STATE_LABELS) ?? 0, { status: label });
    }
  });
}

async function serveMetrics(text: string, pool: PeerPool): Promise<Stoppable> {
  const address = parseListenAddress('metrics-listen-address', text);
  const life = new Lifecycle();
  if (!address) return life;
  const metrics = life.add(createMetrics());
  registerMetrics(metrics, pool);
  life.add(await serveText(address, () => metricsAnswer(metrics)));
  return life;
}
