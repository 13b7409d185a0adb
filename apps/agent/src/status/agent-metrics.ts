// SPDX-License-Identifier: Apache-2.0
// The agent's Prometheus metrics: mostly read from maps and tables when scraped.
import {
  XdpVerdictNames,
  type ForwardedKey,
  type MetricsKey,
  type MetricsValue,
  type XdpMetricsKey,
} from '@cilium-ts/abi';
import { directionText, dropReasonText, forwardedMetric } from '@cilium-ts/agent-api';
import type { PerCpuMap } from '@cilium-ts/bpf';
import { identityScope } from '@cilium-ts/identity';
import type { Metrics } from '@cilium-ts/telemetry';
import type { AgentTables } from '../rows.ts';

export interface MetricSources {
  readonly tables: AgentTables;
  readonly datapathMetrics: PerCpuMap<MetricsKey, MetricsValue>;
  readonly forwarded: PerCpuMap<ForwardedKey, MetricsValue>;
  readonly xdpMetrics: PerCpuMap<XdpMetricsKey, MetricsValue>;
  readonly devices: () => readonly { readonly name: string; readonly xdp: string }[];
  readonly policy: () => {
    readonly revision: number;
    readonly importErrors: number;
    readonly failing: boolean;
    /** The newest publication cannot be read. */
    readonly damaged: boolean;
  };
  readonly maps: () => readonly { readonly name: string; readonly used: number; readonly size: number }[];
  readonly monitor: () => { readonly events: number; readonly lost: number };
  /** What carries rows to the kernel or the cluster. */
  readonly controllers: () => readonly { readonly consecutiveFailures: number }[];
  readonly unknownKeys: number;
  readonly version: string;
}

const add = (sum: MetricsValue, value: MetricsValue): MetricsValue => ({
  packets: sum.packets + value.packets,
  bytes: sum.bytes + value.bytes,
});

type Total = readonly [MetricsKey, MetricsValue];

/** Packets and bytes by reason and direction, lines and files folded. */
function fold(rows: readonly Total[], wanted: (reason: number) => boolean) {
  const sums = new Map<string, { reason: number; direction: number; packets: number; bytes: number }>();
  for (const [key, value] of rows) {
    if (!wanted(key.reason)) continue;
    const name = `${key.reason} ${key.direction}`;
    const sum = sums.get(name) ?? { reason: key.reason, direction: key.direction, packets: 0, bytes: 0 };
    sum.packets += Number(value.packets);
    sum.bytes += Number(value.bytes);
    sums.set(name, sum);
  }
  return [...sums.values()];
}

const POLICY_REASONS = [133, 181];

export function registerMetrics(metrics: Metrics, sources: MetricSources): void {
  registerTraffic(metrics, sources);
  registerXdp(metrics, sources);
  const { tables } = sources;
  metrics.observe('cilium_version', 'version of the agent', 'gauge', (report) => {
    report(1, { version: sources.version });
  });
  metrics.observe('cilium_endpoint', 'endpoints of this node', 'gauge', (report) =>
    report(tables.endpoints.size),
  );
  metrics.observe('cilium_endpoint_state', 'endpoints by state', 'gauge', (report) => {
    const counts = new Map<string, number>([['ready', 0]]);
    for (const row of tables.endpoints.values()) counts.set(row.state, (counts.get(row.state) ?? 0) + 1);
    for (const [state, count] of counts) report(count, { endpoint_state: state });
  });
  metrics.observe('cilium_identity', 'identities known', 'gauge', (report) => {
    const counts = new Map<string, number>();
    for (const row of tables.identities.values()) {
      const type = identityScope(row.id) === 'cluster' ? 'cluster_local' : 'reserved';
      counts.set(type, (counts.get(type) ?? 0) + 1);
    }
    for (const [type, count] of counts) report(count, { type });
  });
  metrics.observe('cilium_policy_max_revision', 'newest policy revision in the kernel', 'gauge', (report) =>
    report(sources.policy().revision),
  );
  metrics.observe(
    'cilium_policy_import_errors_total',
    'policies that could not be realised',
    'counter',
    (report) => report(sources.policy().importErrors),
  );
  metrics.observe(
    'cilium_policy_realization_failing',
    '1 while the newest policy is not in the kernel',
    'gauge',
    (report) => report(sources.policy().failing ? 1 : 0),
  );
  metrics.observe(
    'cilium_policy_publication_damaged',
    '1 while the newest published policy cannot be read and the one before stays in force',
    'gauge',
    (report) => report(sources.policy().damaged ? 1 : 0),
  );
  metrics.observe(
    'cilium_controllers_failing',
    'controllers that cannot write all their rows',
    'gauge',
    (report) =>
      report(sources.controllers().filter(({ consecutiveFailures }) => consecutiveFailures > 0).length),
  );
  metrics.observe('cilium_services', 'service frontends', 'gauge', (report) => report(tables.services.size));
  metrics.observe('cilium_nodes', 'nodes of the cluster', 'gauge', (report) => report(tables.nodes.size));
  metrics.observe('cilium_bpf_map_pressure', 'used share of a BPF map', 'gauge', (report) => {
    for (const { name, used, size } of sources.maps())
      report(used / size, { map_name: name.replace(/^cilium_/, '') });
  });
  metrics.observe('cilium_config_unknown_keys', 'configuration keys that nobody knows', 'gauge', (report) =>
    report(sources.unknownKeys),
  );
  metrics.observe('cilium_monitor_events_total', 'events read from the ring', 'counter', (report) =>
    report(sources.monitor().events),
  );
  metrics.observe('cilium_monitor_lost_events_total', 'events lost in the ring', 'counter', (report) =>
    report(sources.monitor().lost),
  );
}

function registerTraffic(metrics: Metrics, { datapathMetrics, forwarded }: MetricSources): void {
  const drops = (): Promise<Total[]> => datapathMetrics.totals(add);
  const forwards = async (): Promise<Total[]> =>
    (await forwarded.totals(add))
      .filter(([, sum]) => sum.packets > 0n)
      .map(([key, sum]) => [forwardedMetric(key), sum]);
  const traffic = (kind: 'drop' | 'forward', unit: 'count' | 'bytes'): void => {
    metrics.observe(
      `cilium_${kind}_${unit}_total`,
      `${kind}ped packets in ${unit}`,
      'counter',
      async (report) => {
        const rows = await (kind === 'drop' ? drops() : forwards());
        for (const sum of fold(rows, (reason) => (kind === 'drop') === (reason !== 0))) {
          const labels = { direction: directionText(sum.direction) };
          const value = unit === 'count' ? sum.packets : sum.bytes;
          report(value, kind === 'drop' ? { ...labels, reason: dropReasonText(sum.reason) } : labels);
        }
      },
    );
  };
  traffic('drop', 'count');
  traffic('drop', 'bytes');
  traffic('forward', 'count');
  traffic('forward', 'bytes');
  metrics.observe(
    'cilium_policy_l3_l4_denied_total',
    'packets denied by L3/L4 policy',
    'counter',
    async (report) => {
      const denied = { INGRESS: 0, EGRESS: 0 };
      for (const sum of fold(await drops(), (reason) => POLICY_REASONS.includes(reason))) {
        const direction = directionText(sum.direction);
        if (direction === 'INGRESS' || direction === 'EGRESS') denied[direction] += sum.packets;
      }
      report(denied.INGRESS, { direction: 'ingress' });
      report(denied.EGRESS, { direction: 'egress' });
    },
  );
}

function registerXdp(metrics: Metrics, { xdpMetrics, devices }: MetricSources): void {
  metrics.observe('cilium_xdp_attached', '1 where an XDP program runs on the device', 'gauge', (report) => {
    for (const { name, xdp } of devices())
      report(xdp === '' ? 0 : 1, { device: name, mode: xdp || 'disabled' });
  });
  const verdicts = (unit: 'packets' | 'bytes'): void => {
    metrics.observe(
      `cilium_xdp_${unit}_total`,
      `${unit} by verdict of the XDP program`,
      'counter',
      async (report) => {
        for (const [key, value] of await xdpMetrics.totals(add)) {
          const verdict = (XdpVerdictNames[key.verdict] ?? '').replace('XDP_VERDICT_', '').toLowerCase();
          if (verdict !== 's' && verdict !== '') report(Number(value[unit]), { verdict });
        }
      },
    );
  };
  verdicts('packets');
  verdicts('bytes');
}
