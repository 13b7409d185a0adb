// SPDX-License-Identifier: Apache-2.0
// The text of a pod's /etc/resolv.conf and /etc/hosts. Pure.
import type { Pod } from '@cilium-ts/kube';
import { hostnameOf } from './environment.ts';

const CLUSTER_DOMAIN = 'cluster.local';

interface Resolver {
  nameservers: string[];
  searches: string[];
  options: string[];
}

function parseResolver(text: string): Resolver {
  const resolver: Resolver = { nameservers: [], searches: [], options: [] };
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    if (keyword === 'nameserver') resolver.nameservers.push(...values.slice(0, 1));
    if (keyword === 'search' || keyword === 'domain') resolver.searches = values;
    if (keyword === 'options') resolver.options.push(...values);
  }
  return resolver;
}

function clusterResolver(pod: Pod, clusterDns: string): Resolver {
  const namespace = pod.metadata.namespace ?? 'default';
  return {
    nameservers: [clusterDns],
    searches: [`${namespace}.svc.${CLUSTER_DOMAIN}`, `svc.${CLUSTER_DOMAIN}`, CLUSTER_DOMAIN],
    options: ['ndots:5'],
  };
}

/** `nodeText` is the resolv.conf of the machine, for `dnsPolicy: Default`. */
export function resolvConf(pod: Pod, clusterDns: string, nodeText: string): string {
  const policy = pod.spec?.dnsPolicy ?? 'ClusterFirst';
  const wantsCluster =
    policy === 'ClusterFirstWithHostNet' || (policy === 'ClusterFirst' && pod.spec?.hostNetwork !== true);
  const resolver = wantsCluster
    ? clusterResolver(pod, clusterDns)
    : policy === 'None'
      ? { nameservers: [], searches: [], options: [] }
      : parseResolver(nodeText);
  const more = pod.spec?.dnsConfig;
  const unique = (values: string[]): string[] => [...new Set(values)];
  const own = (more?.options ?? []).map(({ name, value }) => (value ? `${name}:${value}` : (name ?? '')));
  const replaced = new Set(own.map((option) => option.split(':')[0]));
  const nameservers = unique([...resolver.nameservers, ...(more?.nameservers ?? [])]);
  const searches = unique([...resolver.searches, ...(more?.searches ?? [])]);
  const options = [...resolver.options.filter((option) => !replaced.has(option.split(':')[0])), ...own];
  return [
    ...nameservers.map((address) => `nameserver ${address}`),
    ...(searches.length > 0 ? [`search ${searches.join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
    '',
  ].join('\n');
}

/** `nodes` are name and address of all nodes, for host-network pods. */
export function hostsFile(
  pod: Pod,
  podIps: readonly string[],
  nodes: readonly { readonly name: string; readonly address: string }[],
): string {
  const lines = [
    '# Kubernetes-managed hosts file.',
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'fe00::0\tip6-mcastprefix',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
  ];
  if (pod.spec?.hostNetwork) {
    for (const { name, address } of nodes) lines.push(`${address}\t${name}`);
  } else {
    const hostname = hostnameOf(pod);
    const { subdomain } = pod.spec ?? {};
    const full = subdomain
      ? `${hostname}.${subdomain}.${pod.metadata.namespace ?? 'default'}.svc.${CLUSTER_DOMAIN}\t`
      : '';
    for (const ip of podIps) lines.push(`${ip}\t${full}${hostname}`);
  }
  const aliases = pod.spec?.hostAliases ?? [];
  if (aliases.length > 0) lines.push('', '# Entries added by HostAliases.');
  for (const { ip, hostnames = [] } of aliases) lines.push(`${ip}\t${hostnames.join('\t')}`);
  return `${lines.join('\n')}\n`;
}
