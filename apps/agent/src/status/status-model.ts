// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import type { ControllerModel, StatusModel } from '@cilium-ts/agent-api';
import type { ReconcilerStatus } from '@cilium-ts/tables';
import { CLUSTER_IDENTITY_MAX, CLUSTER_IDENTITY_MIN } from '@cilium-ts/identity';
import type { PolicySourceState } from '@cilium-ts/policy';
import type { AgentConfig } from '../config.ts';
import type { Datapath } from '../datapath/datapath.ts';
import type { Ipam } from '../ipam/pool.ts';
import type { MonitorFanOut } from '../monitor/fan-out.ts';
import type { AgentTables } from '../rows.ts';

export interface HubbleStatus {
  readonly current: number;
  readonly max: number;
  readonly perSecond: number;
  readonly metrics: boolean;
}

export interface StatusSources {
  readonly config: AgentConfig;
  readonly version: string;
  readonly nodeName: string;
  readonly tables: AgentTables;
  readonly datapath: Datapath;
  readonly ipam: Ipam;
  readonly monitor: MonitorFanOut;
  readonly cpus: number;
  readonly kubernetes: () => { readonly server: string; readonly error: string | undefined };
  readonly policySource: () => PolicySourceState;
  readonly policy: () => {
    readonly revision: number;
    readonly epoch: number;
    readonly error: string | undefined;
  };
  readonly controllers: () => readonly ReconcilerStatus[];
  readonly serviceError: () => string | undefined;
  readonly hubble: () => HubbleStatus | undefined;
  readonly ready: () => boolean;
}

function controllerModel(status: ReconcilerStatus): ControllerModel {
  return {
    name: status.name,
    wanted: status.wanted,
    written: status.written,
    pending: status.pending,
    'consecutive-failures': status.consecutiveFailures,
    'last-error': status.lastError ?? '',
  };
}

/** Everything that is not as it should be, in words. */
function complaints(sources: StatusSources): string[] {
  const list: string[] = [];
  if (!sources.ready()) list.push('starting');
  const { error } = sources.policy();
  if (error !== undefined) list.push(`policy not realised: ${error}`);
  const { damage } = sources.policySource();
  if (damage !== undefined) list.push(`published policy is damaged: ${damage}`);
  const services = sources.serviceError();
  if (services !== undefined) list.push(`services: ${services}`);
  for (const one of sources.controllers()) {
    if (one.consecutiveFailures > 2) list.push(`${one.name}: ${one.lastError}`);
  }
  return list;
}

export function statusModel(sources: StatusSources): StatusModel {
  const { config, datapath, tables, ipam } = sources;
  const kubernetes = sources.kubernetes();
  const source = sources.policySource();
  const policy = sources.policy();
  const problems = complaints(sources);
  const hubble = sources.hubble();
  const lb = config.bool('kube-proxy-replacement');
  const cniFile = config.text('write-cni-conf-when-ready');
  const node = [...tables.nodes.values()].find((row) => row.local);
  return {
    cilium: { state: problems.length === 0 ? 'Ok' : 'Warning', msg: problems.join('; ') || sources.version },
    kubernetes: {
      state: kubernetes.error === undefined ? 'Ok' : 'Warning',
      msg: kubernetes.error ?? kubernetes.server,
    },
    'policy-source': sourceState(source),
    policy: { revision: policy.revision, epoch: policy.epoch, error: policy.error ?? '' },
    version: sources.version,
    'node-name': sources.nodeName,
    'kernel-version': release(),
    'uptime-seconds': Math.round(process.uptime()),
    'kube-proxy-replacement': {
      mode: lb ? 'True' : 'False',
      devices: datapath.devices.map(
        ({ name }) => `${name} ${node?.internalIps.join(' ') ?? ''} (Direct Routing)`,
      ),
      'socket-lb': datapath.socketLb ? 'Enabled' : 'Disabled',
      'xdp-acceleration': xdpText(datapath),
      services: tables.services.size,
    },
    cni: { chaining: 'none', 'config-file': cniFile, 'config-present': existsSync(cniFile) },
    'host-firewall': hostFirewall(sources),
    'node-monitor': {
      cpus: sources.cpus,
      events: sources.monitor.events,
      lost: sources.monitor.lost,
      listeners: sources.monitor.listeners,
    },
    ipam: {
      pools: ipam.pools.map((pool) => pool.status()),
      allocations: Object.fromEntries(ipam.pools.flatMap((pool) => [...pool.allocations()])),
    },
    routing: {
      mode: 'Native',
      host: datapath.features.has('redirect-neigh') ? 'BPF' : 'Legacy',
    },
    'attach-mode': datapath.attachMode,
    masquerading: {
      mode: 'BPF',
      ipv4: config.bool('enable-ipv4-masquerade'),
      ipv6: config.bool('enable-ipv6-masquerade'),
      cidrs: [nativeCidr(datapath, 4), nativeCidr(datapath, 6)].filter((cidr) => cidr !== ''),
    },
    controllers: sources.controllers().map(controllerModel),
    'identity-range': { min: CLUSTER_IDENTITY_MIN, max: CLUSTER_IDENTITY_MAX },
    hubble: {
      state: hubble ? 'Ok' : 'Disabled',
      'current-flows': hubble?.current ?? 0,
      'max-flows': hubble?.max ?? 0,
      'flows-per-second': hubble?.perSecond ?? 0,
      metrics: hubble?.metrics ? 'Ok' : 'Disabled',
    },
    nodes: [...tables.nodes.values()].map((row) => ({ name: row.name, addresses: [...row.internalIps] })),
    endpoints: tables.endpoints.size,
    identities: tables.identities.size,
    fallbacks: [...datapath.fallbacks],
    'replaced-maps': [...datapath.replacedMaps],
    'unknown-configuration-keys': [...config.unknown],
    'configuration-warnings': [...config.warnings],
    'bpf-maps': mapSizes(datapath),
  };
}

function sourceState({ kind, connected, detail, damage }: PolicySourceState): StatusModel['policy-source'] {
  const msg = damage === undefined ? detail : `${detail} stays in force, the newest is damaged: ${damage}`;
  return { state: connected && damage === undefined ? 'Ok' : 'Warning', msg: `${kind}: ${msg}` };
}

function hostFirewall({ config, datapath }: StatusSources): string {
  if (!config.bool('enable-host-firewall')) return 'Disabled';
  return `Enabled   [${datapath.devices.map(({ name }) => name).join(', ')}]`;
}

function xdpText(datapath: Datapath): string {
  const modes = [...new Set(datapath.devices.map((device) => device.xdp).filter((mode) => mode !== ''))];
  if (modes.length === 0) return 'Disabled';
  return modes.map((mode) => (mode === 'native' ? 'Native' : 'Generic')).join(', ');
}

function nativeCidr({ constants }: Datapath, family: 4 | 6): string {
  const [address, bits] =
    family === 4
      ? [constants.nativeCidrIpv4, constants.nativeCidrIpv4Bits - 96]
      : [constants.nativeCidrIpv6, constants.nativeCidrIpv6Bits];
  return address === '' ? '' : `${address}/${bits}`;
}

export function mapSizes({ maps }: Datapath): { name: string; size: number }[] {
  const all = Object.values(maps).filter((map) => typeof map !== 'number');
  return all.map((map) => ({ name: map.spec.name, size: map.info.maxEntries }));
}
