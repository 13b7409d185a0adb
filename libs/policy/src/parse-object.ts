// SPDX-License-Identifier: Apache-2.0
import { LABEL_NAMESPACE } from '@cilium-ts/identity';
import { err, ok, type Result } from '@cilium-ts/base';
import type { ObjectContext } from './parse-context.ts';
import { parseItems, type ListName } from './parse-item.ts';
import { Reader, type Problem } from './problem.ts';
import type { ParsedPolicy, ParseOptions, PolicyName, Rule, RuleItem } from './rule.ts';
import type { Origin } from './rule-set.ts';
import { parseSelector, requireValue, type LabelSelector } from './selector.ts';
import { yamlLines } from './yaml-lines.ts';

/** What the parsers read of an API object. */
export interface PolicyObject {
  readonly kind?: string;
  readonly metadata?: {
    readonly name?: string;
    readonly namespace?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: unknown;
  readonly specs?: unknown;
}

/** Rules of an object, or every problem that was found in it. */
export type ParseResult = Result<ParsedPolicy, readonly Problem[]>;

const RULE_FIELDS = [
  'endpointSelector',
  'nodeSelector',
  'ingress',
  'ingressDeny',
  'egress',
  'egressDeny',
  'enableDefaultDeny',
  'labels',
  'description',
  'log',
];

/** Parses a CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy. All or nothing: one bad rule refuses the object. */
export function parseCiliumPolicy(object: PolicyObject, options: ParseOptions): ParseResult {
  const read = new Reader();
  const clusterwide = object.kind === 'CiliumClusterwideNetworkPolicy';
  const name = object.metadata?.name ?? '';
  if (name === '') read.fail('metadata.name', 'is missing');
  const id: PolicyName = clusterwide
    ? { kind: 'CiliumClusterwideNetworkPolicy', name }
    : { kind: 'CiliumNetworkPolicy', namespace: object.metadata?.namespace ?? 'default', name };
  const notes: Problem[] = [];
  const shared = { read, options, id, notes };
  const rules: Rule[] = [];
  const { spec, specs } = object;
  if (spec !== undefined && spec !== null) {
    rules.push(...parseRule(context(shared, 'spec', '', spec), spec));
  }
  const list = read.list(specs, 'specs');
  list?.forEach((item, index) => {
    const root = `specs[${index}]`;
    rules.push(...parseRule(context(shared, root, `[${index}]`, specs), item));
  });
  const audited = readAudit(read, object);
  if ((spec === undefined || spec === null) && !list) read.fail('spec', 'neither spec nor specs is present');
  return read.problems.length > 0 ? err(read.problems) : ok({ id, rules, audited, unenforced: notes });
}

export const AUDIT_ANNOTATION = 'policy.cilium-ts.io/audit';

/** Whether the object is to be audited only; a typing error must not turn enforcement off or on in silence. */
export function readAudit(read: Reader, object: PolicyObject): boolean {
  const value = object.metadata?.annotations?.[AUDIT_ANNOTATION];
  if (value !== undefined && value !== 'true' && value !== 'false')
    read.fail(
      `metadata.annotations["${AUDIT_ANNOTATION}"]`,
      `${JSON.stringify(value)} is not one of "true", "false"`,
    );
  return value === 'true';
}

type Shared = Pick<ObjectContext, 'read' | 'options' | 'id' | 'notes'>;

/** `block` is what lines are counted in, `prefix` where the rule stands in it. */
function context(shared: Shared, root: string, prefix: string, block: unknown): ObjectContext {
  const { id } = shared;
  const lines = yamlLines(block);
  const origin = (path: string): Origin => ({
    ...id,
    path: prefix === '' ? path : `${root}.${path}`,
    line: lines.get(prefix === '' ? path : `${prefix}.${path}`) ?? 0,
  });
  return { ...shared, root, origin, initSubject: false };
}

function parseRule(given: ObjectContext, value: unknown): Rule[] {
  const { read, root } = given;
  const object = read.object(value, root, RULE_FIELDS);
  if (!object) return [];
  checkMetadata(given, object);
  const subject = parseSubject(given, object);
  const initSubject = subject.some(({ source, key }) => source === 'reserved' && key === 'init');
  const flags =
    read.object(object['enableDefaultDeny'], `${root}.enableDefaultDeny`, ['ingress', 'egress']) ?? {};
  const denyIngress = read.flag(flags['ingress'], `${root}.enableDefaultDeny.ingress`) ?? true;
  const denyEgress = read.flag(flags['egress'], `${root}.enableDefaultDeny.egress`) ?? true;
  const inner = { ...given, initSubject };
  const items: RuleItem[] = [];
  let lists = 0;
  for (const name of ['ingress', 'ingressDeny', 'egress', 'egressDeny'] satisfies ListName[]) {
    const list = object[name];
    if (Array.isArray(list) && list.length > 0) lists++;
    items.push(...parseItems(inner, name, list, name.startsWith('ingress') ? denyIngress : denyEgress));
  }
  if (lists === 0)
    read.fail(
      root,
      'needs at least one of ingress, ingressDeny, egress, egressDeny with a rule in it (a rule {} allows nothing)',
    );
  return [{ on: byNode(object) ? 'nodes' : 'endpoints', subject, items }];
}

function checkMetadata(given: ObjectContext, object: Record<string, unknown>): void {
  const { read, root } = given;
  read.text(object['description'], `${root}.description`);
  const log = read.object(object['log'], `${root}.log`, ['value']);
  const value = read.text(log?.['value'], `${root}.log.value`) ?? '';
  if (value.length > 32 || /[^\x20-\x7e]/.test(value))
    read.fail(`${root}.log.value`, 'at most 32 printable characters');
}

function byNode(object: Record<string, unknown>): boolean {
  return object['nodeSelector'] !== undefined && object['nodeSelector'] !== null;
}

function parseSubject(given: ObjectContext, object: Record<string, unknown>): LabelSelector {
  const { read, root, id } = given;
  const byEndpoint = object['endpointSelector'] !== undefined && object['endpointSelector'] !== null;
  if (byEndpoint === byNode(object)) {
    read.fail(root, 'needs exactly one of endpointSelector and nodeSelector');
    return [];
  }
  if (byNode(object)) {
    if (id.namespace !== undefined)
      read.fail(`${root}.nodeSelector`, 'is for CiliumClusterwideNetworkPolicy only');
    if (!given.options.hostFirewall)
      given.notes.push({
        path: `${root}.nodeSelector`,
        message: 'not enforced: the host firewall is off (enable-host-firewall)',
      });
    return parseSelector(read, object['nodeSelector'], `${root}.nodeSelector`, 'any');
  }
  const selector = parseSelector(read, object['endpointSelector'], `${root}.endpointSelector`, 'any');
  if (id.namespace === undefined) return selector;
  if (selector.some(({ source, key }) => source === 'reserved' && key === 'init')) {
    read.fail(
      `${root}.endpointSelector`,
      'reserved:init can be selected by CiliumClusterwideNetworkPolicy only',
    );
  }
  // The policy's own namespace, whatever the selector says.
  const rest = selector.filter(
    ({ source, key }) => !((source === 'k8s' || source === 'any') && key === LABEL_NAMESPACE),
  );
  return [...rest, requireValue('k8s', LABEL_NAMESPACE, id.namespace)];
}
