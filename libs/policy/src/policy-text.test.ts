// SPDX-License-Identifier: Apache-2.0
// Tested: policies of a file with the file's own lines, broken files. How: texts as users write them.
import { expect, test } from '@jest/globals';
import { parsePolicyText } from './policy-text.ts';

const TEXT = `# two of them
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  endpointSelector: {}
  egress:
    - toPorts:
        - ports:
            - port: "8080"
              protocol: TCP
---
kind: NetworkPolicy
metadata: { name: knp }
spec:
  podSelector: {}
  ingres: []
`;

test('origins and problems carry lines of the file', () => {
  const [web, knp, ...rest] = parsePolicyText(TEXT, { cluster: 'default' });
  expect(rest).toEqual([]);
  expect(web).toMatchObject({
    kind: 'CiliumNetworkPolicy',
    namespace: 'shop',
    name: 'web',
    result: { ok: true },
  });
  const [item] = web!.result.ok ? web!.result.value.rules[0]!.items : [];
  expect(item!.origin).toMatchObject({ path: 'egress[0]', line: 8 });
  expect(item!.ports).toMatchObject([{ origin: { path: 'egress[0].toPorts[0]', line: 9 } }]);
  expect(knp).toMatchObject({
    namespace: 'default',
    result: { ok: false, error: [{ path: 'spec.ingres' }] },
  });
  expect(knp!.lineOf('spec.ingres')).toBe(17);
  expect(knp!.lineOf('spec.nothing.here')).toBe(15);
});

test('other kinds and broken YAML are problems with a line', () => {
  const [pod] = parsePolicyText('kind: Pod\n', { cluster: 'default' });
  expect(pod!.result).toMatchObject({ error: [{ message: expect.stringContaining('is not one of') }] });
  const [broken] = parsePolicyText('a: 1\nb: [', { cluster: 'default' });
  expect(broken!.result.ok).toBe(false);
  expect(broken!.lineOf('')).toBe(2);
  expect(parsePolicyText('', { cluster: 'default' })).toEqual([]);
});
