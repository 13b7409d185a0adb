// SPDX-License-Identifier: Apache-2.0
import { itemContext, type ItemContext, type ObjectContext } from './parse-context.ts';
import { parsePeers } from './parse-peers.ts';
import { parseIcmps, parsePortRules } from './parse-ports.ts';
import { RANK_AUTHENTICATION, type PortMatch, type RuleItem } from './rule.ts';
import type { Direction } from './rule-set.ts';

export type ListName = 'ingress' | 'ingressDeny' | 'egress' | 'egressDeny';

const PEER_FIELDS = ['Endpoints', 'Nodes', 'CIDR', 'CIDRSet', 'Entities', 'Groups', 'Requires'];

function knownFields(list: ListName): string[] {
  const side = list.startsWith('ingress') ? 'from' : 'to';
  const fields = PEER_FIELDS.map((name) => side + name).concat('toPorts', 'icmps');
  if (side === 'to') fields.push('toServices');
  if (list === 'egress') fields.push('toFQDNs');
  if (!list.endsWith('Deny')) fields.push('authentication');
  return fields;
}

/** Parses one list of a rule (`ingress`, ...). */
export function parseItems(
  object: ObjectContext,
  list: ListName,
  value: unknown,
  defaultDeny: boolean,
): RuleItem[] {
  const direction: Direction = list.startsWith('ingress') ? 'ingress' : 'egress';
  const items = object.read.list(value, `${object.root}.${list}`) ?? [];
  return items.flatMap((item, index) => {
    const context = itemContext(object, `${list}[${index}]`, direction);
    const fields = object.read.object(item ?? {}, context.at(''), knownFields(list));
    return fields ? [parseItem(context, fields, list.endsWith('Deny'), defaultDeny)] : [];
  });
}

function parseItem(
  context: ItemContext,
  fields: Record<string, unknown>,
  deny: boolean,
  defaultDeny: boolean,
): RuleItem {
  const peers = parsePeers(context, fields, deny);
  const ports = parsePortRules(context, fields['toPorts'], deny);
  const icmps = parseIcmps(context, fields['icmps']);
  if (ports && ports.length > 0 && icmps && icmps.length > 0) {
    context.read.fail(context.at('icmps'), 'cannot be combined with toPorts in one rule');
  }
  // An empty toPorts list is like an absent one; a port rule without ports matches nothing.
  const written = [fields['toPorts'], fields['icmps']].some((list) => Array.isArray(list) && list.length > 0);
  const matches: PortMatch[] = [...(ports ?? []), ...(icmps ?? [])];
  const unenforced = parseAuthentication(context, fields['authentication']);
  return {
    direction: context.direction,
    action: deny ? 'deny' : 'allow',
    tier: 'normal',
    priority: 0,
    defaultDeny,
    // `{}` allows nothing: neither peers nor ports are named.
    peers: peers ?? (written ? 'any' : []),
    ports: written ? matches : 'any',
    origin: context.origin(''),
    ...(unenforced ? { unenforced } : {}),
  };
}

function parseAuthentication(context: ItemContext, value: unknown): RuleItem['unenforced'] {
  const object = context.read.object(value, context.at('authentication'), ['mode']);
  if (!object) return undefined;
  const mode = context.read.text(object['mode'], context.at('authentication.mode')) ?? '';
  if (mode === 'disabled') return undefined;
  if (mode !== 'required' && mode !== 'test-always-fail') {
    context.read.fail(
      context.at('authentication.mode'),
      `${JSON.stringify(mode)} is not one of disabled, required, test-always-fail`,
    );
    return undefined;
  }
  context.unenforced(
    'authentication.mode',
    'mutual authentication: not enforced yet, so this traffic is dropped',
  );
  return { reason: 'mutual authentication', rank: RANK_AUTHENTICATION, terms: { authentication: mode } };
}
