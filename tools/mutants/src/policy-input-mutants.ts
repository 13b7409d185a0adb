// SPDX-License-Identifier: Apache-2.0
// Faults around the policy path: whose address it is, the node's own traffic, remembered decisions, and how objects are read.
import type { Mutant } from './mutant.ts';

export const POLICY_INPUT_MUTANTS: readonly Mutant[] = [
  {
    name: 'pods of this node are world',
    file: 'bpf/lib/identity.h',
    find: 'return endpoint->identity;',
    replace: 'return IDENTITY_WORLD;',
  },
  {
    name: 'the node itself is world',
    file: 'bpf/lib/identity.h',
    find: 'return IDENTITY_HOST;',
    replace: 'return IDENTITY_WORLD;',
  },
  {
    name: 'unknown addresses are the node',
    file: 'bpf/lib/identity.h',
    find: 'cached->identity : IDENTITY_WORLD;',
    replace: 'cached->identity : IDENTITY_HOST;',
  },
  {
    name: 'prefixes of the ipcache are not asked',
    file: 'bpf/lib/identity.h',
    find: '\treturn bpf_map_lookup_elem(&cilium_ipcache, &prefix);',
    replace: '\treturn 0;',
  },
  {
    name: 'host firewall: what arrives is not judged',
    file: 'bpf/bpf_host.c',
    find: 'result = has(CONFIG_HOST_FIREWALL) ? judge_own(skb, r, false) : 0;',
    replace: 'result = 0;',
  },
  {
    name: 'host firewall: what leaves is not judged',
    file: 'bpf/bpf_host.c',
    find: 'if (has(CONFIG_HOST_FIREWALL) && address_is_host(&r->packet.source)) {',
    replace: 'if (0) {',
  },
  {
    name: 'remembered decisions hold for other ports',
    file: 'bpf/lib/policy.h',
    find: 'd->port == r->policy_port &&',
    replace: '1 &&',
  },
  {
    name: 'remembered decisions hold for the other side',
    file: 'bpf/lib/policy.h',
    find: ' && d->side == side && address_equal',
    replace: ' && address_equal',
  },
  {
    name: 'remembered decisions hold for other rule sets',
    file: 'bpf/lib/policy.h',
    find: 'd->rule_set == r->rule_set && d->port',
    replace: 'd->port',
  },
  {
    name: 'replies are judged by the other direction',
    file: 'bpf/lib/policy.h',
    find: 'return leaving == origin ? DIR_EGRESS : DIR_INGRESS;',
    replace: 'return leaving ? DIR_EGRESS : DIR_INGRESS;',
  },
  {
    name: 'toServices selects pods of every namespace',
    file: 'libs/policy/src/expansion.ts',
    find: "      requirements.push(requireValue('k8s', LABEL_NAMESPACE, service.namespace));\n",
    replace: '',
  },
  {
    name: 'toServices by labels selects every Service',
    file: 'libs/policy/src/expansion.ts',
    find: 'return peer.selector === undefined || selects(peer.selector, service.labels);',
    replace: 'return true;',
  },
  {
    name: 'CIDR groups by labels are all meant',
    file: 'libs/policy/src/expansion.ts',
    find: '? selects(peer.selector ?? [], group.labels)',
    replace: '? true',
  },
  {
    name: 'toServices ignores the name',
    file: 'libs/policy/src/expansion.ts',
    find: 'if (peer.name !== undefined && service.name !== peer.name) return false;',
    replace: '',
  },
  {
    name: 'named ports are told apart by case',
    file: 'libs/policy/src/named-ports.ts',
    find: '[`${name.toLowerCase()}/${protocol}`, port]',
    replace: '[`${name}/${protocol}`, port]',
  },
  {
    name: 'port 0 is a port',
    file: 'libs/policy/src/parse-ports.ts',
    find: "if (text.startsWith('0') || from > 65535) {",
    replace: 'if (from > 65535) {',
  },
  {
    name: 'L7 rules restrict nothing',
    file: 'libs/policy/src/parse-ports.ts',
    find: 'return unenforced ? { ...match, unenforced } : match;',
    replace: 'return match;',
  },
  {
    name: 'KNP: no peers select nobody',
    file: 'libs/policy/src/parse-kubernetes.ts',
    find: "if (list.length === 0) return 'any';",
    replace: 'if (list.length === 0) return [];',
  },
  {
    name: 'KNP: no default deny',
    file: 'libs/policy/src/parse-kubernetes.ts',
    find: 'priority: 0, defaultDeny: true }',
    replace: 'priority: 0, defaultDeny: false }',
  },
  {
    name: 'KNP: pods of every namespace',
    file: 'libs/policy/src/parse-kubernetes.ts',
    find: ": [requireValue('k8s', LABEL_NAMESPACE, context.namespace)];",
    replace: ': [];',
  },
  {
    name: 'KCNP: rules of one policy have no order',
    file: 'libs/policy/src/parse-cluster-policy.ts',
    find: 'priority: first + index,',
    replace: 'priority: first,',
  },
  {
    name: 'KCNP: unknown peers are accepted',
    file: 'libs/policy/src/parse-cluster-policy.ts',
    find: "if (unknown && action !== 'allow') return [{ ...base, action: 'deny', peers: 'any', ports }];",
    replace: '',
  },
  {
    name: 'KCNP: isolates',
    file: 'libs/policy/src/parse-cluster-policy.ts',
    find: '    defaultDeny: false,',
    replace: '    defaultDeny: true,',
  },
];
