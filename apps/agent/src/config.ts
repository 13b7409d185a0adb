// SPDX-License-Identifier: Apache-2.0
// The one schema of the agent's configuration: keys of ConfigMap cilium-config, their defaults and allowed values.
import { AppError } from '@cilium-ts/base';
import { addressFamily, isAddress, parsePrefix } from '@cilium-ts/net';

export interface ConfigKey {
  readonly key: string;
  readonly fallback: string;
  /** Allowed values in words, for messages and the reference page. */
  readonly allowed: string;
  readonly valid: (value: string) => boolean;
  readonly help: string;
  /** Read by the agent, but the named part of it comes with a later version: accepted and shown. */
  readonly inactive?: boolean;
}

const bool = (key: string, fallback: boolean, help: string, inactive = false): ConfigKey => ({
  key,
  fallback: String(fallback),
  allowed: 'true, false',
  valid: (value) => value === 'true' || value === 'false',
  help,
  inactive,
});

const text = (key: string, fallback: string, help: string): ConfigKey => ({
  key,
  fallback,
  allowed: 'text',
  valid: () => true,
  help,
});

const oneOf = (key: string, fallback: string, values: readonly string[], help: string): ConfigKey => ({
  key,
  fallback,
  allowed: values.join(', '),
  valid: (value) => values.includes(value),
  help,
});

const number = (
  key: string,
  fallback: number,
  range: readonly [number, number],
  help: string,
): ConfigKey => ({
  key,
  fallback: String(fallback),
  allowed: `a number from ${range[0]} to ${range[1]}`,
  valid: (value) => /^\d+$/.test(value) && Number(value) >= range[0] && Number(value) <= range[1],
  help,
});

const duration = (key: string, fallback: string, help: string): ConfigKey => ({
  key,
  fallback,
  allowed: 'a duration such as 500ms, 30s, 5m, 6h',
  valid: (value) => parseDurationMs(value) !== undefined,
  help,
});

const address = (key: string, fallback: string, family: 4 | 6, help: string): ConfigKey => ({
  key,
  fallback,
  allowed: `an IPv${family} address`,
  valid: (value) => isAddress(value) && addressFamily(value) === family,
  help,
});

const cidr = (key: string, help: string): ConfigKey => ({
  key,
  fallback: '',
  allowed: 'a prefix such as 10.0.0.0/8, or empty',
  valid: (value) => value === '' || parsePrefix(value) !== undefined,
  help,
});

const RATIO: ConfigKey = {
  key: 'bpf-map-dynamic-size-ratio',
  fallback: '0.0025',
  allowed: 'a number above 0, up to 1',
  valid: (value) => Number(value) > 0 && Number(value) <= 1,
  help: 'share of memory for maps without a size of their own',
  inactive: true,
};

const MAP_RANGE = [1024, 16_777_216] as const;

export const CONFIG_KEYS: readonly ConfigKey[] = [
  text('cluster-name', 'default', 'name of the cluster, part of every identity'),
  oneOf('log-level', 'info', ['debug', 'info', 'warn', 'error', 'silent'], 'least severity that is logged'),
  bool('debug', false, 'same as log-level=debug'),
  bool('enable-ipv4', true, 'IPv4 for pods'),
  bool('enable-ipv6', true, 'IPv6 for pods'),
  bool('enable-ipv4-masquerade', true, 'node address as source of pod traffic that leaves the cluster'),
  bool('enable-ipv6-masquerade', true, 'the same for IPv6'),
  bool('enable-bpf-masquerade', true, 'masquerade in eBPF; there is no other way here'),
  bool(
    'enable-xt-socket-fallback',
    true,
    'early demux off where xt_socket is missing and the L7 proxy on',
    true,
  ),
  oneOf('routing-mode', 'native', ['native'], 'how pod packets travel between nodes'),
  bool('auto-direct-node-routes', true, 'one route per other node and pod CIDR'),
  cidr(
    'ipv4-native-routing-cidr',
    'destinations that are not masqueraded; default: all pod CIDRs of this node',
  ),
  cidr('ipv6-native-routing-cidr', 'the same for IPv6'),
  address(
    'ipv4-service-loopback-address',
    '169.254.42.1',
    4,
    'whom a pod sees that reaches itself through a Service',
  ),
  address('ipv6-service-loopback-address', '100::a9fe:2a01', 6, 'the same for IPv6; not link-local'),
  oneOf('ipam', 'kubernetes', ['kubernetes'], 'where pod addresses come from: Node.spec.podCIDRs'),
  bool(
    'kube-proxy-replacement',
    true,
    'ClusterIP services in eBPF; strict: refuse to start without all features',
  ),
  bool('kube-proxy-replacement-strict', false, 'set by kube-proxy-replacement=strict'),
  oneOf('bus', 'nats', ['nats', 'embedded'], 'where compiled policy comes from'),
  text(
    'nats-service',
    'kube-system/cilium-nats',
    'namespace/name of the Service whose EndpointSlices name NATS',
  ),
  text(
    'k8s-namespace',
    'kube-system',
    'where the agent runs: of the lease for the status of policies with bus=embedded',
  ),
  text('nats-url', '', 'nats://host:port instead of the Service'),
  oneOf('policy-enforcement-mode', 'default', ['default', 'always', 'never'], 'when endpoints are isolated'),
  bool('policy-audit-mode', false, 'policy drops become audited forwards on the whole node'),
  bool('enable-host-firewall', false, 'policies with a nodeSelector judge the traffic of the node itself'),
  number('bpf-ct-global-tcp-max', 524_288, MAP_RANGE, 'TCP connections'),
  number('bpf-ct-global-any-max', 262_144, MAP_RANGE, 'other connections'),
  duration('bpf-ct-timeout-regular-tcp', '8000s', 'life of an idle established TCP connection'),
  duration('bpf-ct-timeout-regular-tcp-syn', '60s', 'life of a TCP connection not yet established'),
  duration('bpf-ct-timeout-regular-tcp-fin', '10s', 'life of a TCP connection that is closing'),
  duration('bpf-ct-timeout-regular-any', '60s', 'life of everything else'),
  number('bpf-policy-map-max', 16_384, [256, 65_536], 'entries of one rule set'),
  number('bpf-fragments-map-max', 8192, [256, 65_536], 'datagrams in fragments'),
  number('bpf-nat-global-max', 131_072, MAP_RANGE, 'masqueraded flows, two entries each'),
  number('bpf-lb-map-max', 65_536, MAP_RANGE, 'service frontends'),
  number(
    'bpf-events-ring-bytes',
    1_048_576,
    [65_536, 268_435_456],
    'bytes of the event ring, a power of two',
  ),
  bool('bpf-events-drop-enabled', true, 'events for drops'),
  bool('bpf-events-trace-enabled', true, 'events for forwarded packets'),
  bool('bpf-events-policy-verdict-enabled', true, 'events for policy verdicts'),
  RATIO,
  text('bpf-root', '/sys/fs/bpf', 'mount point of the BPF file system'),
  text('bpf-object-dir', '', 'folder of the compiled BPF objects'),
  text('cgroup-root', '/run/cilium/cgroupv2', 'cgroup v2 folder whose processes get socket load balancing'),
  text('state-dir', '/var/run/cilium', 'sockets and state'),
  text(
    'devices',
    '',
    'native devices, separated by blanks or commas; default: those with the default or a node route',
  ),
  number('mtu', 0, [0, 65_535], 'of pod devices; 0: of the native device'),
  oneOf('datapath-attach-mode', 'auto', ['auto', 'tcx', 'clsact'], 'how tc programs are attached'),
  oneOf(
    'bpf-lb-acceleration',
    'best-effort',
    ['best-effort', 'native', 'generic', 'disabled'],
    'XDP on native devices',
  ),
  bool('bpf-redirect-peer', true, 'deliver to local pods by bpf_redirect_peer'),
  bool('bpf-redirect-neigh', true, 'leave the node by bpf_redirect_neigh'),
  bool('bpf-lb-sock', true, 'socket load balancing'),
  bool('enable-source-ip-verification', true, 'drop packets with a source address that is not the pod’s'),
  oneOf(
    'allow-localhost',
    'auto',
    ['auto', 'always', 'policy'],
    'whether the node always reaches its own pods',
  ),
  bool('prefilter', false, 'XDP list of dropped source prefixes'),
  text('cni-bin-dir', '', 'folder to install the CNI binary into; empty: not installed'),
  text('cni-binary', '', 'the binary to install; default: found beside the agent'),
  text('write-cni-conf-when-ready', '', 'CNI configuration file to write once pods can be served'),
  bool('cni-exclusive', true, 'rename other CNI configurations to *.cilium_bak'),
  duration(
    'monitor-aggregation-interval',
    '5s',
    'at most one trace event per flow and direction in this time',
  ),
  duration('conntrack-gc-interval', '0s', 'time between collections of expired connections; 0s: adaptive'),
  bool('enable-hubble', true, 'flow observability'),
  text('hubble-listen-address', ':4244', 'TCP address of the Observer; empty: only the unix socket'),
  text('hubble-socket-path', '/var/run/cilium/hubble.sock', 'unix socket of the Observer'),
  number('hubble-event-buffer-capacity', 4095, [1, 16_777_215], 'flows kept'),
  text('hubble-metrics-server', '', 'TCP address of the flow metrics'),
  text('hubble-metrics', '', 'flow metrics to keep, separated by blanks'),
  text('prometheus-serve-addr', ':9962', 'TCP address of the agent’s metrics; empty: none'),
  number('agent-health-port', 9879, [0, 65_535], 'TCP port of /healthz on 127.0.0.1'),
  text('labels', '', 'filter of the labels that make an identity'),
  text('k8s-api-server', '', 'https://host:port instead of the in-cluster one'),
  text('k8s-kubeconfig-path', '', 'kubeconfig file instead of the service account'),
  text('k8s-node-name', '', 'name of this node; default: environment K8S_NODE_NAME'),
  bool('enable-bandwidth-manager', false, 'pod egress rates', true),
  bool('enable-local-redirect-policy', false, 'local redirect policies', true),
  bool('enable-cpu-affinity', false, 'pin the agent to CPUs', true),
  number('cpu-affinity-threads', 1, [1, 1024], 'how many CPUs'),
  bool('mesh-auth-enabled', false, 'mutual authentication', true),
  bool('mesh-auth-mutual-enabled', false, 'mutual authentication with SPIRE', true),
  text('mesh-auth-spire-agent-socket', '', 'SPIRE workload API'),
];

const BY_KEY = new Map(CONFIG_KEYS.map((key) => [key.key, key]));

export interface AgentConfig {
  readonly values: Readonly<Record<string, string>>;
  /** Set by files or flags, known to nobody. */
  readonly unknown: readonly string[];
  /** What was changed or is not acted upon, in words. */
  readonly warnings: readonly string[];
  text(key: string): string;
  bool(key: string): boolean;
  number(key: string): number;
  durationMs(key: string): number;
}

/** Milliseconds of `500ms`, `30s`, `5m`, `6h`, `1h30m`; undefined where it is no duration. */
export function parseDurationMs(value: string): number | undefined {
  const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  if (value === '0') return 0;
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(value)) return undefined;
  let total = 0;
  for (const [, amount, , unit] of value.matchAll(/(\d+(\.\d+)?)(ms|s|m|h)/g))
    total += Number(amount) * units[unit!]!;
  return total;
}

interface Draft {
  readonly values: Map<string, string>;
  readonly warnings: string[];
}

function refuse(key: string, value: string, allowed: string): never {
  throw new AppError(
    'bad-config',
    `configuration key ${key} has value ${JSON.stringify(value)}; allowed: ${allowed}`,
    { key, value, allowed },
  );
}

/** Old and wished-for spellings, rewritten to the keys above. */
function rewriteAliases({ values, warnings }: Draft): void {
  const take = (key: string): string | undefined => {
    const value = values.get(key);
    values.delete(key);
    return value;
  };
  const tunnel = take('tunnel');
  if (tunnel !== undefined) {
    if (tunnel !== 'disabled') refuse('tunnel', tunnel, 'disabled (tunnels are not supported yet)');
    const mode = values.get('routing-mode');
    if (mode !== undefined && mode !== 'native')
      refuse('routing-mode', mode, 'native, as tunnel=disabled says');
    values.set('routing-mode', 'native');
  }
  const replacement = values.get('kube-proxy-replacement');
  if (replacement === 'strict') {
    values.set('kube-proxy-replacement', 'true');
    values.set('kube-proxy-replacement-strict', 'true');
  } else if (replacement === 'partial' || replacement === 'probe') {
    values.set('kube-proxy-replacement', 'true');
    warnings.push(`kube-proxy-replacement=${replacement} is an old value, taken as true`);
  } else if (replacement === 'disabled') values.set('kube-proxy-replacement', 'false');
  const spire = take('enable-spire');
  if (spire !== undefined) {
    if (spire !== 'true' && spire !== 'false') refuse('enable-spire', spire, 'true, false');
    values.set('mesh-auth-enabled', spire);
    values.set('mesh-auth-mutual-enabled', spire);
  }
  const socket = take('spire-agent-socket');
  if (socket !== undefined) values.set('mesh-auth-spire-agent-socket', socket);
  for (const [old, now] of [
    ['enable-policy', 'policy-enforcement-mode'],
    ['xdp-mode', 'bpf-lb-acceleration'],
    ['node-port-acceleration', 'bpf-lb-acceleration'],
  ] as const) {
    const value = take(old);
    if (value !== undefined) values.set(now, value);
  }
}

/** @throws AppError `bad-config` naming key, value and what is allowed */
export function parseConfig(given: Readonly<Record<string, string>>): AgentConfig {
  const draft: Draft = { values: new Map(Object.entries(given)), warnings: [] };
  rewriteAliases(draft);
  const unknown = [...draft.values.keys()].filter((key) => !BY_KEY.has(key)).sort();
  const values: Record<string, string> = {};
  for (const { key, fallback, allowed, valid, inactive } of CONFIG_KEYS) {
    const value = draft.values.get(key)?.trim() ?? fallback;
    if (!valid(value)) refuse(key, value, allowed);
    values[key] = value;
    if (inactive && value !== fallback && value !== 'false') {
      draft.warnings.push(`${key}=${value} is accepted, but this version does not act on it`);
    }
  }
  return {
    values,
    unknown,
    warnings: draft.warnings,
    text: (key) => values[key] ?? missing(key),
    bool: (key) => (values[key] ?? missing(key)) === 'true',
    number: (key) => Number(values[key] ?? missing(key)),
    durationMs: (key) => parseDurationMs(values[key] ?? missing(key))!,
  };
}

function missing(key: string): never {
  throw new Error(`no configuration key ${key} in the schema`);
}
