// SPDX-License-Identifier: Apache-2.0
// Faults in the policy path: each compiles, loads and makes some verdict, origin or entry wrong.
import type { Mutant } from './mutant.ts';
import { POLICY_INPUT_MUTANTS } from './policy-input-mutants.ts';

const POLICY_H = 'bpf/lib/policy.h';
const RESOLVE = 'libs/policy/src/resolve.ts';
const MAP_STATE = 'libs/policy/src/map-state.ts';
const DECIDE = 'libs/policy/src/decide.ts';
const MATCHER = 'libs/policy/src/matcher.ts';
const BLOCKS = 'libs/policy/src/port-blocks.ts';

const bpf: readonly Mutant[] = [
  {
    name: 'lower precedence wins',
    file: POLICY_H,
    find: 'return wild->precedence > exact->precedence;',
    replace: 'return wild->precedence < exact->precedence;',
  },
  {
    name: 'shorter prefix wins',
    file: POLICY_H,
    find: 'return wild->prefix_bits > exact->prefix_bits;',
    replace: 'return wild->prefix_bits < exact->prefix_bits;',
  },
  {
    name: 'deny entries allow',
    file: POLICY_H,
    find: 'if (entry->flags & POLICY_DENY)',
    replace: 'if (entry->flags & 64)',
  },
  {
    name: 'unenforced entries allow',
    file: POLICY_H,
    find: 'if (entry->flags & POLICY_UNENFORCED)',
    replace: 'if (entry->flags & 64)',
  },
  {
    name: 'no audit per policy',
    file: POLICY_H,
    find: 'decision->audited = entry->flags & POLICY_AUDIT;',
    replace: 'decision->audited = 0;',
  },
  {
    name: 'rules for everybody are not asked',
    file: POLICY_H,
    find: '\tkey.identity = 0;\n\twild = bpf_map_lookup_elem(inner, &key);',
    replace: '\twild = 0;',
  },
  {
    name: 'rules for one identity are not asked',
    file: POLICY_H,
    find: '\texact = bpf_map_lookup_elem(inner, &key);',
    replace: '\texact = 0;',
  },
  { name: 'directions swapped', file: POLICY_H, find: '.direction = side,', replace: '.direction = !side,' },
  {
    name: 'protocol not asked',
    file: POLICY_H,
    find: '.protocol = r->packet.protocol,\n\t\t.port',
    replace: '.protocol = IPPROTO_TCP,\n\t\t.port',
  },
  {
    name: 'only the protocol is asked, not the port',
    file: POLICY_H,
    find: '.prefixlen = POLICY_PREFIX_PORT,',
    replace: '.prefixlen = POLICY_PREFIX_PROTO,',
  },
  {
    name: 'a miss passes',
    file: POLICY_H,
    find: 'remote != IDENTITY_HOST)\n\t\t\treturn POLICY_FAIL(DROP_POLICY_DENIED);',
    replace: 'remote != IDENTITY_HOST)\n\t\t\treturn 0;',
  },
  {
    name: 'ICMP type not in network order',
    file: POLICY_H,
    find: 'return bpf_htons(p->icmp_type);',
    replace: 'return p->icmp_type;',
  },
  {
    name: 'judged by the source port',
    file: POLICY_H,
    find: 'return origin ? p->destination_port : p->source_port;',
    replace: 'return origin ? p->source_port : p->destination_port;',
  },
  {
    name: 'a decision is remembered for every remote',
    file: POLICY_H,
    find: 'd->side == side && address_equal(&d->remote, remote)',
    replace: 'd->side == side',
  },
  {
    name: 'a decision is remembered beyond its epoch',
    file: POLICY_H,
    find: 'if (r->rule_set && d->epoch == r->epoch && ',
    replace: 'if (r->rule_set && ',
  },
  {
    name: 'a decision is remembered for every protocol',
    file: POLICY_H,
    find: 'd->protocol == r->packet.protocol && d->side',
    replace: 'd->side',
  },
  {
    name: 'open connections are never judged again',
    file: POLICY_H,
    find: '(f->entry->flags & bit) && epoch == r->epoch &&',
    replace: '(f->entry->flags & bit) && epoch != 0xdeadbeefu &&',
  },
  {
    name: 'the verdict is thrown away',
    file: POLICY_H,
    find: '\tif (code >= 0)\n\t\t*ok |= bit;\n\treturn code;',
    replace: '\tif (code >= 0)\n\t\t*ok |= bit;\n\treturn 0;',
  },
  {
    name: 'the origin is not told',
    file: POLICY_H,
    find: '\tr->origin = entry->origin;',
    replace: '\tr->origin = 0;',
  },
  {
    name: 'the receiving pod is not asked',
    file: 'bpf/bpf_lxc.c',
    find: 'result = judge(skb, r, &f, 0, target, false, &ok);',
    replace: 'result = 0;',
  },
  {
    name: 'pods reach the node past its policy',
    file: 'bpf/bpf_lxc.c',
    find: 'has(CONFIG_HOST_FIREWALL) && target == CT_TARGET_HOST',
    replace: 'has(CONFIG_HOST_FIREWALL) && target == 12345',
  },
];

const compiler: readonly Mutant[] = [
  {
    name: 'a deny is compiled as an allow',
    file: RESOLVE,
    find: "return { verdict: 'deny', rank: RANK_DENY };",
    replace: "return { verdict: 'allow', rank: RANK_DENY };",
  },
  {
    name: 'a deny ranks as an allow',
    file: RESOLVE,
    find: "return { verdict: 'deny', rank: RANK_DENY };",
    replace: "return { verdict: 'deny', rank: RANK_ALLOW };",
  },
  {
    name: 'what is not enforced is allowed',
    file: RESOLVE,
    find: "if (condition) return { verdict: 'unenforced', rank: condition.rank };",
    replace: "if (condition) return { verdict: 'allow', rank: RANK_ALLOW };",
  },
  {
    name: 'unknown peers are allowed',
    file: RESOLVE,
    find: "if (unknownPeer) return { verdict: 'unenforced', rank: RANK_UNKNOWN_PEER };",
    replace: "if (unknownPeer) return { verdict: 'allow', rank: RANK_ALLOW };",
  },
  {
    name: 'exceptions of a CIDR are forgotten',
    file: RESOLVE,
    find: "...except.map((inner): Requirement => ({ ...insidePrefix(inner), operator: 'DoesNotExist' })),",
    replace: '',
  },
  {
    name: 'an ambiguous name allows every number',
    file: RESOLVE,
    find: "if (numbers.length > 1 && item.action === 'allow') return [];",
    replace: '',
  },
  {
    name: 'the baseline tier speaks under a default deny',
    file: RESOLVE,
    find: "rows = rows.filter(({ level }) => tierOf(level) !== 'baseline');",
    replace: 'rows = rows.filter(() => true);',
  },
  {
    name: 'the node is shut out of its pods',
    file: RESOLVE,
    find: "if (direction === 'ingress' && world.allowLocalhost && identity !== IDENTITY_HOST)",
    replace: "if (direction === 'egress' && world.allowLocalhost && identity !== IDENTITY_HOST)",
  },
  {
    name: 'audited policies isolate',
    file: RESOLVE,
    find: 'const isolatedBy = isolating(own, false);',
    replace: 'const isolatedBy = [...isolating(own, false), ...isolating(own, true)];',
  },
  {
    name: 'an identity that comes later has no denies under a wider allow',
    file: MAP_STATE,
    find: 'if (covering.precedence !== block.precedence) return covering.precedence > block.precedence;',
    replace: '',
  },
  {
    name: 'entries of lower precedence are not pruned',
    file: MAP_STATE,
    find: 'return covering.precedence > block.precedence;\n',
    replace: 'return false;\n',
  },
  {
    name: 'what is for everybody goes before what names the identity',
    file: MAP_STATE,
    find: 'precedence: PRECEDENCE_TABLE + (identity === ANY ? 0 : 1)',
    replace: 'precedence: PRECEDENCE_TABLE + (identity === ANY ? 1 : 0)',
  },
  {
    name: 'a miss inside of a wider allow is not said',
    file: MAP_STATE,
    find: 'if (outcome || key !== 0 || identity !== ANY)',
    replace: 'if (outcome)',
  },
  {
    name: 'entries of an identity that went stay',
    file: MAP_STATE,
    find: 'change.deletes.push({ identity, ...there });',
    replace: '',
  },
  {
    name: 'a default deny direction is open',
    file: MAP_STATE,
    find: 'if (this.ruleSet.defaultDeny[direction] || cells.get(0)?.has(ANY)) return;',
    replace: 'if (cells.get(0)?.has(ANY)) return;',
  },
  {
    name: 'Pass ends the decision',
    file: DECIDE,
    find: "if (first.verdict !== 'pass') return",
    replace: 'if (first) return',
  },
  {
    name: 'the baseline tier is asked after a default deny',
    file: DECIDE,
    find: "if (tier === 'normal' && base.isolated) return 'default-deny';",
    replace: '',
  },
  {
    name: 'audited rules count',
    file: DECIDE,
    find: 'rows.some((row) => row.audited) ? rows.filter((row) => !row.audited) : rows;',
    replace: 'rows;',
  },
  {
    name: 'NotIn needs the key',
    file: MATCHER,
    find: 'return (labels) => !labels.values.get(name)?.some((value) => values.includes(value));',
    replace: 'return (labels) => labels.values.get(name)?.some((value) => !values.includes(value)) ?? false;',
  },
  {
    name: 'a wider prefix lies in a narrower one',
    file: MATCHER,
    find: 'if (inner.bits < outer.bits) return false;',
    replace: '',
  },
  {
    name: 'the first requirement is enough',
    file: MATCHER,
    find: 'return (labels) => only(labels) && rest.every((matches) => matches(labels));',
    replace: 'return (labels) => only(labels);',
  },
  {
    name: 'ranges miss their last port',
    file: BLOCKS,
    find: 'while (start <= to) {',
    replace: 'while (start < to) {',
  },
  {
    name: 'blocks reach beyond their range',
    file: BLOCKS,
    find: 'start + size * 2 - 1 <= to',
    replace: 'start + size - 1 <= to',
  },
  {
    name: 'tiers in the wrong order',
    file: 'libs/policy/src/level.ts',
    find: "['admin', 'normal', 'baseline']",
    replace: "['baseline', 'normal', 'admin']",
  },
  {
    name: 'the policy of another namespace selects',
    file: 'libs/policy/src/parse-object.ts',
    find: "return [...rest, requireValue('k8s', LABEL_NAMESPACE, id.namespace)];",
    replace: 'return rest;',
  },
  {
    name: 'peers of every namespace are meant',
    file: 'libs/policy/src/parse-peers.ts',
    find: "added.push(requireValue('k8s', LABEL_NAMESPACE, context.id.namespace));",
    replace: '',
  },
  {
    name: 'an empty rule allows everybody',
    file: 'libs/policy/src/parse-item.ts',
    find: "peers: peers ?? (written ? 'any' : []),",
    replace: "peers: peers ?? 'any',",
  },
  {
    name: 'deny flag not written',
    file: 'libs/policy/src/entry-bytes.ts',
    find: 'deny: PolicyFlags.POLICY_DENY,',
    replace: 'deny: 0,',
  },
];

export const POLICY_MUTANTS: readonly Mutant[] = [...bpf, ...compiler, ...POLICY_INPUT_MUTANTS];
