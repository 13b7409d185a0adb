// SPDX-License-Identifier: Apache-2.0
// Tested: warnings about valid policies, alone and as a set. How: small texts, one point each.
import { expect, test } from '@jest/globals';
import { reviewPolicies } from './review.ts';
import { parsePolicyText } from './policy-text.ts';

function review(...texts: string[]): string[] {
  const policies = parsePolicyText(texts.join('\n---\n'), { cluster: 'default' }).map(({ result }) => {
    if (!result.ok) throw new Error(JSON.stringify(result.error));
    return result.value;
  });
  return reviewPolicies(policies).map(({ policy, path, message }) => `${policy.id.name} ${path}: ${message}`);
}

const cnp = (name: string, spec: string): string =>
  `kind: CiliumNetworkPolicy\nmetadata: { name: ${name}, namespace: shop }\nspec: ${spec}`;
const ccnp = (name: string, spec: string): string =>
  `kind: CiliumClusterwideNetworkPolicy\nmetadata: { name: ${name} }\nspec: ${spec}`;
const cluster = (name: string, priority: number, action: string): string =>
  `kind: ClusterNetworkPolicy\nmetadata: { name: ${name} }\nspec: { tier: Admin, priority: ${priority}, subject: { namespaces: {} }, ingress: [{ action: ${action}, from: [{ namespaces: {} }] }] }`;
const db = 'endpointSelector: { matchLabels: { app: db } }';
const web = '{ matchLabels: { app: web } }';

test('an allow that a deny holds wholly allows nothing, whichever comes first', () => {
  const allow = cnp(
    'a',
    `{ ${db}, ingress: [{ fromEndpoints: [${web}], toPorts: [{ ports: [{ port: "80", protocol: TCP }] }] }] }`,
  );
  const deny = cnp('d', `{ ${db}, ingressDeny: [{ fromEndpoints: [${web}] }] }`);
  const expected = 'a spec.ingress[0]: allows nothing: all of it is denied by CNP shop/d spec.ingressDeny[0]';
  expect(review(allow, deny)).toEqual([expected]);
  expect(review(deny, allow)).toEqual([expected]);
});

test('a deny of fewer peers, fewer ports or other subjects leaves an allow alone', () => {
  const allow = cnp('a', `{ ${db}, ingress: [{ fromEndpoints: [${web}] }] }`);
  for (const deny of [
    `{ ${db}, ingressDeny: [{ fromEndpoints: [{ matchLabels: { app: web, tier: b } }] }] }`,
    `{ ${db}, ingressDeny: [{ fromEndpoints: [${web}], toPorts: [{ ports: [{ port: "80" }] }] }] }`,
    `{ endpointSelector: { matchLabels: { app: cache } }, ingressDeny: [{ fromEndpoints: [${web}] }] }`,
    `{ ${db}, egressDeny: [{ toEndpoints: [${web}] }] }`,
  ])
    expect(review(allow, cnp('d', deny))).toEqual([]);
});

test('of two that say the same the later one is told', () => {
  const allow = `{ ${db}, ingress: [{ fromEndpoints: [${web}] }] }`;
  expect(review(cnp('a', allow), cnp('b', allow))).toEqual([
    'b spec.ingress[0]: adds nothing to CNP shop/a spec.ingress[0]',
  ]);
  const deny = `{ ${db}, ingressDeny: [{ fromCIDRSet: [{ cidr: 10.0.0.0/8, except: [10.1.0.0/16] }] }, { fromCIDR: [10.2.0.0/16, 10.3.0.0/16] }, { fromCIDR: [10.1.2.0/24] }] }`;
  expect(review(cnp('a', deny))).toEqual([
    'a spec.ingressDeny[1]: denies what is denied already by CNP shop/a spec.ingressDeny[0]',
  ]);
});

test('a rule that alone turns default deny on is not superfluous', () => {
  const open = `{ ${db}, enableDefaultDeny: { ingress: false }, ingress: [{ fromEntities: [all] }] }`;
  const closed = `{ ${db}, ingress: [{ fromEndpoints: [${web}] }] }`;
  expect(review(cnp('a', open), cnp('b', closed))).toEqual([]);
});

test('a rule of a later level that an earlier one decides is never reached', () => {
  const message =
    'late spec.ingress[0]: is never reached: decided before by ClusterNetworkPolicy early spec.ingress[0]';
  expect(review(cluster('late', 9, 'Accept'), cluster('early', 1, 'Deny'))).toEqual([message]);
  expect(review(cluster('late', 9, 'Accept'), cluster('early', 1, 'Pass'))).toEqual([message]);
});

test('names from outside need an allow of DNS for the same subject', () => {
  const names = `{ ${db}, egress: [{ toFQDNs: [{ matchName: a.example }] }] }`;
  const dns = (labels: string): string =>
    cnp(
      'dns',
      `{ endpointSelector: ${labels}, egress: [{ toEntities: [cluster], toPorts: [{ ports: [{ port: "53" }] }] }] }`,
    );
  const told = (texts: string[]): boolean => review(...texts).some((line) => line.includes('UDP port 53'));
  expect(told([cnp('n', names)])).toBe(true);
  expect(told([cnp('n', names), dns('{}')])).toBe(false);
  expect(told([cnp('n', names), dns('{ matchLabels: { app: other } }')])).toBe(true);
});

test('a rule that matches nothing, a subject that is everybody, and what is not enforced are told', () => {
  expect(review(cnp('a', `{ ${db}, ingress: [{}], egress: [{ toPorts: [{}] }] }`))).toEqual([
    'a spec.ingress[0]: selects no peer: it only puts its subject into default deny',
    'a spec.egress[0]: matches no port: it only puts its subject into default deny',
  ]);
  expect(review(ccnp('a', '{ endpointSelector: {}, ingress: [{ fromEntities: [host] }] }'))).toEqual([
    'a spec.endpointSelector: selects every pod of every namespace and puts it into default deny for ingress',
  ]);
  expect(review(ccnp('a', '{ nodeSelector: {}, ingress: [{ fromEntities: [host] }] }'))).toEqual([
    expect.stringContaining('a spec.nodeSelector: not enforced'),
  ]);
});
