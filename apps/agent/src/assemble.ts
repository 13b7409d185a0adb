// SPDX-License-Identifier: Apache-2.0
// The only list of the agent's parts, in start order, and how they are joined.
import { cpus } from 'node:os';
import { join } from 'node:path';
import { EndpointFlags } from '@cilium-ts/abi';
import { errorMessage } from '@cilium-ts/base';
import { cidrLabels, formatLabel } from '@cilium-ts/identity';
import { gatewayOf } from '@cilium-ts/node-plan';
import type { PolicySource } from '@cilium-ts/policy';
import {
  healthAnswer,
  metricsAnswer,
  parseListenAddress,
  serveText,
  startTracing,
} from '@cilium-ts/telemetry';
import { apiRoutes } from './api/routes.ts';
import { monitorStream } from './monitor/monitor-stream.ts';
import { serveApi } from './api/server.ts';
import type { ApiServices } from './api/services.ts';
import type { ReconcilerStatus } from '@cilium-ts/tables';
import type { AgentConfig } from './config.ts';
import { ConntrackGc } from './datapath/conntrack-gc.ts';
import { CniServer } from './endpoint/cni.ts';
import { installCni } from './endpoint/cni-install.ts';
import { replayDeletions } from './endpoint/delete-queue.ts';
import { EndpointStateFiles } from './endpoint/endpoint-state.ts';
import { EndpointManager } from './endpoint/manager.ts';
import { PodIdentities } from './endpoint/pod-identity.ts';
import { PodNetwork } from './endpoint/pod-network.ts';
import { EndpointPublisher } from './endpoint/publisher.ts';
import { layFoundation, type Foundation } from './foundation.ts';
import { agentLookups, startHubble, type Hubble } from './hubble/index.ts';
import { Ipam } from './ipam/pool.ts';
import { Ipcache } from './ipcache/ipcache.ts';
import { feedIpcache } from './ipcache/sources.ts';
import { LoadBalancer } from './loadbalancer/controller.ts';
import { MemoryTrim } from './memory-trim.ts';
import { MonitorFanOut } from './monitor/fan-out.ts';
import { NodeRoutes, ROUTE_PROTOCOL } from './node/node-network.ts';
import { EmbeddedPolicySource, NatsPolicySource } from './policy-source/index.ts';
import { explainPolicy, type ExplainPorts } from './policy/explain.ts';
import type { PersistedPolicy } from './policy/kept-policy.ts';
import { PolicyRealizer } from './policy/realizer.ts';
import { policyModel, selectorModels } from './policy/rules-view.ts';
import { registerMetrics } from './status/agent-metrics.ts';
import { mapSizes, statusModel } from './status/status-model.ts';
import { StateFile } from './state-file.ts';
import { VERSION } from './version.ts';

export interface Agent {
  stop(): Promise<void>;
}

function createPolicySource({ config, client, nodeName, logger }: Foundation): PolicySource {
  if (config.text('bus') === 'embedded') {
    const engine = {
      cluster: config.text('cluster-name'),
      mode: config.text('policy-enforcement-mode') as 'default',
      allowLocalhost: config.text('allow-localhost') !== 'policy',
      hostFirewall: config.bool('enable-host-firewall'),
    };
    const namespace = config.text('k8s-namespace');
    return new EmbeddedPolicySource({ client, engine, node: nodeName, namespace, log: logger });
  }
  const url = config.text('nats-url');
  const service = config.text('nats-service');
  return new NatsPolicySource({
    node: nodeName,
    log: logger,
    service,
    client,
    ...(url === '' ? {} : { url }),
  });
}

/** Policy, identities and endpoints: the parts that depend on each other. */
function joinEndpoints(base: Foundation, ipcache: Ipcache, source: PolicySource) {
  const { config, logger, lifecycle, native, netlink, tables, watches, datapath } = base;
  const stateDirectory = join(config.text('state-dir'), 'state');
  const raiseEpoch = (): void => datapath.runtime.raiseEpoch();
  const memory = new StateFile<PersistedPolicy>(join(stateDirectory, 'policy.json'), logger);
  const network = new PodNetwork(native, netlink, {
    gateways: base.hostDevice.gateways,
    mtu: base.mtu,
    routeProtocol: ROUTE_PROTOCOL,
  });
  const ipam = new Ipam(base.node.podCidrs);
  const realizer: PolicyRealizer = new PolicyRealizer({
    map: datapath.maps.policy,
    entriesMax: config.number('bpf-policy-map-max'),
    identities: tables.identities,
    endpoints: {
      needed: () => manager.needed(),
      numbers: () => manager.numbers(),
      flip: (assign, at) => manager.flip(assign, at),
    },
    cidrs: async (upserts, removals) => {
      for (const { prefix, identity } of upserts) ipcache.upsert('generated', prefix, { identity, node: '' });
      for (const prefix of removals) ipcache.remove('generated', prefix);
      await ipcache.whenIdle();
    },
    raiseEpoch,
    acknowledge: (at, error) => source.acknowledge(at, error),
    persist: (state) => void memory.write(state),
    logger,
  });
  const manager: EndpointManager = new EndpointManager({
    table: tables.endpoints,
    maps: datapath.maps,
    network,
    identities: new PodIdentities(
      { pods: watches.pods, namespaces: watches.namespaces, identities: tables.identities },
      config.text('cluster-name'),
      config.text('labels'),
    ),
    state: new EndpointStateFiles(stateDirectory, logger),
    ipam,
    hooks: datapath.pods,
    ipcache: {
      upsert: (address, identity) => {
        const node = base.node.internalIps.find((ip) => ip.includes(':') === address.includes(':')) ?? '';
        ipcache.upsert('local', address, { identity, node });
      },
      remove: (address) => ipcache.remove('local', address),
      whenIdle: () => ipcache.whenIdle(),
    },
    policy: realizer,
    raiseEpoch,
    logger,
  });
  lifecycle.onStop(() => realizer.stop());
  lifecycle.onStop(() => datapath.pods.stop());
  return { realizer, manager, network, ipam, restorePolicy: () => realizer.restore(memory.read()) };
}

type Joined = ReturnType<typeof joinEndpoints>;

/** State of an earlier run, before anything new happens. */
async function restore(base: Foundation, joined: Joined): Promise<void> {
  const { datapath, netlink, logger, tables, hostDevice, node } = base;
  for (const addr of [...node.internalIps, ...hostDevice.gateways]) {
    datapath.maps.lxc.set({ addr }, { ifindex: 0, id: 0, flags: EndpointFlags.ENDPOINT_HOST });
  }
  await joined.restorePolicy();
  const devices = new Map((await netlink.links()).map((link) => [link.name, link.index]));
  if (base.config.bool('enable-host-firewall')) joined.manager.addHost(base.nodeName);
  const restored = await joined.manager.restore(devices);
  const stale = datapath.pruneLinks(new Set([...tables.endpoints.values()].map((row) => row.hostDevice)));
  datapath.runtime.raiseEpoch();
  logger.info({ restored, staleLinks: stale.length }, 'state restored');
}

function createServices(base: Foundation, joined: Joined, parts: Parts): ApiServices {
  const { config, tables, datapath, client, watches, kube } = base;
  const { realizer, ipam } = joined;
  const audit = config.bool('policy-audit-mode');
  const policy = () => ({
    revision: realizer.revision?.revision ?? 0,
    epoch: realizer.revision?.epoch ?? 0,
    error: realizer.error,
  });
  return {
    tables,
    factsOf: (row) => ({
      ruleSet: realizer.ruleSetByNumber(row.ruleSet),
      entries: realizer.entriesByNumber(row.ruleSet) ?? [],
      audit: audit || row.audit === true,
    }),
    cidrIdentities: () =>
      realizer
        .cidrs()
        .map(({ prefix, identity }) => ({ identity, labels: cidrLabels(prefix).map(formatLabel) })),
    status: () =>
      statusModel({
        config,
        version: VERSION,
        nodeName: base.nodeName,
        tables,
        datapath,
        ipam,
        monitor: parts.monitor,
        cpus: cpus().length,
        kubernetes: () => ({ server: kube.server, error: watches.nodes.lastError }),
        policySource: () => parts.source.state(),
        policy,
        controllers: () => controllers(parts),
        serviceError: () => parts.loadBalancer.error,
        hubble: () => parts.hubble.current?.status(),
        ready: () => parts.ready.value,
      }),
    policy: () => policyModel(client, policy().revision),
    selectors: () =>
      selectorModels(client, config.text('cluster-name'), (selector) => realizer.select(selector)),
    explain: (asked) => explainPolicy(explainPorts(base, joined, parts), asked),
    ips: () =>
      parts.ipcache.list().map(({ prefix, identity, node, source }) => {
        const known = tables.addresses.get(prefix.replace(/\/(32|128)$/, ''));
        const metadata = { source, namespace: known?.namespace ?? '', name: known?.podName ?? '' };
        return { cidr: prefix, identity, hostIP: node, encryptKey: 0, metadata };
      }),
    maps: () => mapModels(base, parts),
    config: () => ({
      values: { ...config.values },
      unknown: [...config.unknown],
      warnings: [...config.warnings],
    }),
    metricsText: () => base.metrics.text(),
    cni: (call) => parts.cni.handle(call),
    setAudit: (id, on) => joined.manager.setAudit(id, on),
  };
}

function explainPorts(base: Foundation, { realizer }: Joined, parts: Parts): ExplainPorts {
  const { config, tables } = base;
  const [namespace] = config.text('nats-service').split('/');
  return {
    tables,
    cluster: config.text('cluster-name'),
    compilerService: `${namespace}/cilium-policy-compiler`,
    engine: () => (parts.source instanceof EmbeddedPolicySource ? parts.source.engine : undefined),
    ruleSetOf: (identity, pod) => realizer.ruleSetOf(identity, pod),
    identityOf: (address) => {
      const prefix = `${address}/${address.includes(':') ? 128 : 32}`;
      return parts.ipcache.list().find((row) => row.prefix === prefix)?.identity;
    },
    flowOf: (uuid) => parts.hubble.current?.flow(uuid),
  };
}

function usedEntries(base: Foundation, parts: Parts): Map<string, number> {
  const { tables } = base;
  const used = new Map<string, number>(parts.gc.results().map(({ name, alive }) => [name, alive]));
  const [exact, prefixes] = parts.ipcache.status();
  used.set('cilium_endpoints', tables.endpoints.size);
  used.set('cilium_lb_services', tables.services.size);
  used.set('cilium_policy', parts.realizer.ruleSets().length);
  used.set('cilium_ipcache_exact', exact?.written ?? 0);
  used.set('cilium_ipcache', prefixes?.written ?? 0);
  return used;
}

function mapModels(base: Foundation, parts: Parts) {
  const used = usedEntries(base, parts);
  const models = mapSizes(base.datapath).map(({ name, size }) => ({
    name,
    type: '',
    'num-entries': used.get(name) ?? 0,
    'max-entries': size,
    'cache-enabled': used.has(name),
  }));
  return Promise.resolve(models);
}

interface Parts {
  readonly source: PolicySource;
  readonly ipcache: Ipcache;
  readonly realizer: PolicyRealizer;
  readonly routes: NodeRoutes;
  readonly publisher: EndpointPublisher;
  readonly loadBalancer: LoadBalancer;
  readonly monitor: MonitorFanOut;
  readonly gc: ConntrackGc;
  readonly cni: CniServer;
  readonly hubble: { current: Hubble | undefined };
  readonly ready: { value: boolean };
}

function startParts(base: Foundation, joined: Joined, ipcache: Ipcache, source: PolicySource): Parts {
  const { config, logger, lifecycle, netlink, tables, watches, datapath, native, client, node } = base;
  feedIpcache(ipcache, tables, watches.slices, gatewayOf, joined.realizer);
  const routes = new NodeRoutes(
    netlink,
    { device: base.device.name, enabled: config.bool('auto-direct-node-routes') },
    logger,
  );
  lifecycle.onStop(routes.follow(tables.nodes));
  lifecycle.add(routes);
  const publisher = lifecycle.add(
    new EndpointPublisher({
      client,
      endpoints: tables.endpoints,
      published: watches.endpoints,
      nodeIp: node.internalIps[0]!,
      enforced: (row) =>
        joined.realizer.ruleSetByNumber(row.ruleSet)?.enforced ?? { ingress: true, egress: true },
      logger,
    }),
  );
  const loadBalancer = lifecycle.add(
    new LoadBalancer({
      services: watches.services,
      slices: watches.slices,
      maps: datapath.maps,
      table: tables.services,
      node: base.nodeName,
      logger,
    }),
  );
  const monitor = lifecycle.add(new MonitorFanOut(native, datapath.maps.eventsFd));
  const { ctTcp, ctHalfOpen, ctAny, nat } = datapath.maps;
  const gc = lifecycle.add(
    new ConntrackGc(
      { ct: [ctTcp, ctHalfOpen, ctAny], nat },
      config.durationMs('conntrack-gc-interval'),
      logger,
    ),
  );
  const cni = new CniServer({
    endpoints: joined.manager,
    netlink,
    gateway: (address) => joined.network.gateway(address),
    mtu: base.mtu,
    logger,
  });
  const hubble = { current: undefined };
  const ready = { value: false };
  return {
    source,
    ipcache,
    realizer: joined.realizer,
    routes,
    publisher,
    loadBalancer,
    monitor,
    gc,
    cni,
    hubble,
    ready,
  };
}

function controllers({ ipcache, routes, publisher }: Parts): ReconcilerStatus[] {
  return [...ipcache.status(), routes.status(), publisher.status()];
}

function publishMetrics(base: Foundation, joined: Joined, parts: Parts): void {
  registerMetrics(base.metrics, {
    tables: base.tables,
    datapathMetrics: base.datapath.maps.metrics,
    forwarded: base.datapath.maps.forwarded,
    xdpMetrics: base.datapath.maps.xdpMetrics,
    devices: () => base.datapath.devices,
    policy: () => ({
      revision: joined.realizer.revision?.revision ?? 0,
      importErrors: joined.realizer.importErrors,
      failing: joined.realizer.error !== undefined,
      damaged: parts.source.state().damage !== undefined,
    }),
    maps: () => {
      const used = usedEntries(base, parts);
      return mapSizes(base.datapath).flatMap(({ name, size }) =>
        used.has(name) ? [{ name, size, used: used.get(name)! }] : [],
      );
    },
    monitor: () => parts.monitor,
    controllers: () => controllers(parts),
    unknownKeys: base.config.unknown.length,
    version: VERSION,
  });
}

async function serve(base: Foundation, services: ApiServices, parts: Parts): Promise<void> {
  const { config, lifecycle, logger, metrics } = base;
  const decide = (event: { ruleSet: number; origin: number; direction: number }) =>
    parts.realizer.originOf(event.ruleSet, event.origin, event.direction === 1 ? 'egress' : 'ingress');
  const streams = { '/v1/monitor': monitorStream((listener) => parts.monitor.subscribe(listener), decide) };
  const socket = join(config.text('state-dir'), 'cilium.sock');
  lifecycle.add(await serveApi(socket, apiRoutes(services), streams, logger));
  const address = parseListenAddress('prometheus-serve-addr', config.text('prometheus-serve-addr'));
  if (address) lifecycle.add(await serveText(address, () => metricsAnswer(metrics)));
}

/** Flows of this node. Without them packets still pass, so a taken port is an error in the log, not the end. */
async function observe(base: Foundation, parts: Parts): Promise<void> {
  const { config, lifecycle, logger, tables, nodeName, netlink } = base;
  if (!config.bool('enable-hubble')) return;
  const { realizer, monitor } = parts;
  const devices = new Map((await netlink.links()).map((link) => [link.index, link.name]));
  const lookups = agentLookups({
    nodeName,
    clusterName: config.text('cluster-name'),
    version: VERSION,
    tables,
    ruleSetByNumber: (number) => realizer.ruleSetByNumber(number),
    originOf: (ruleSet, origin, direction) => realizer.originOf(ruleSet, origin, direction),
    cidrs: () => realizer.cidrs(),
    interfaceName: (ifindex) =>
      [...tables.endpoints.values()].find((row) => row.ifindex === ifindex)?.hostDevice ??
      devices.get(ifindex) ??
      '',
  });
  const metricsAddress = parseListenAddress('hubble-metrics-server', config.text('hubble-metrics-server'));
  try {
    const hubble = await startHubble({
      source: monitor,
      lookups,
      nodes: tables.nodes,
      config: {
        socketPath: config.text('hubble-socket-path'),
        listenAddress: config.text('hubble-listen-address'),
        capacity: config.number('hubble-event-buffer-capacity'),
        metrics: metricsAddress ? config.text('hubble-metrics') : undefined,
      },
      logger: logger.child({ part: 'hubble' }),
    });
    parts.hubble.current = lifecycle.add(hubble);
    const { metrics } = hubble;
    if (!metrics || !metricsAddress) return;
    lifecycle.add(await serveText(metricsAddress, () => metricsAnswer(metrics)));
  } catch (error) {
    logger.error({ error: errorMessage(error) }, 'hubble is not available');
  }
}

async function serveHealth(
  base: Pick<Foundation, 'config' | 'lifecycle'>,
  ready: () => boolean,
): Promise<void> {
  const port = base.config.number('agent-health-port');
  if (port === 0) return;
  const health = () => healthAnswer(ready() ? undefined : 'starting');
  base.lifecycle.add(await serveText({ host: '127.0.0.1', port }, health));
}

/** Starts everything; resolves when pods can be served. */
export async function assemble(config: AgentConfig): Promise<Agent> {
  const base = await layFoundation(config);
  const { lifecycle, logger, watches, datapath } = base;
  lifecycle.add(
    await startTracing({ service: 'cilium-agent', attributes: { 'k8s.node.name': base.nodeName } }),
  );
  const ipcache = lifecycle.add(new Ipcache(datapath.maps, () => datapath.runtime.raiseEpoch(), logger));
  const source = createPolicySource(base);
  const joined = joinEndpoints(base, ipcache, source);
  await restore(base, joined);
  const parts = startParts(base, joined, ipcache, source);
  const services = createServices(base, joined, parts);
  publishMetrics(base, joined, parts);
  await serveHealth(base, () => parts.ready.value);
  source.start((publication) => joined.realizer.receive(publication));
  lifecycle.onStop(() => source.stop());
  await parts.loadBalancer.start();
  parts.gc.start();
  await replayDeletions(config.text('state-dir'), (call) => parts.cni.handle(call), logger);
  await serve(base, services, parts);
  await observe(base, parts);
  // New pods need labels and identities; restored ones went on without.
  await Promise.all([watches.pods.synced, watches.namespaces.synced, watches.identities.synced]);
  lifecycle.add(new MemoryTrim(base.native)).trim();
  parts.ready.value = true;
  await installCni(config, logger);
  logger.info({ version: VERSION, uptimeMs: Math.round(performance.now()) }, 'agent ready');
  return { stop: () => lifecycle.stop() };
}
