// SPDX-License-Identifier: Apache-2.0
// Tested: which rules cannot be carried out together. How: pairs of policies, some alike but for one thing.
import { expect, test } from '@jest/globals';
import { findConflicts } from './index.ts';
import { parsed } from './testing.ts';

const PORT = { ports: [{ port: '80', protocol: 'TCP' }] };
const http = { ...PORT, rules: { http: [{ method: 'GET' }] } };
const kafka = { ...PORT, rules: { kafka: [{ topic: 't' }] } };
const tls = (secret: string): object => ({
  ...http,
  terminatingTLS: { secret: { namespace: 'ns', name: secret } },
});
const listener = (name: string, priority: number): object => ({
  ...PORT,
  listener: { envoyConfig: { kind: 'CiliumEnvoyConfig', name: 'c' }, name, priority },
});

const rule = (name: string, port: object, more: object = {}, app = 'a'): ReturnType<typeof parsed> =>
  parsed('cnp', name, {
    endpointSelector: { matchLabels: { app } },
    egress: [{ toEndpoints: [{ matchLabels: { app: 'b' } }], toPorts: [port], ...more }],
  });

test.each([
  ['parsers', rule('one', http), rule('two', kafka), 'L7 rules (kafka) conflicts with L7 rules (http)'],
  ['TLS contexts', rule('one', tls('x')), rule('two', tls('y')), 'TLS: '],
  ['listeners of one priority', rule('one', listener('x', 5)), rule('two', listener('y', 5)), 'listener: '],
  [
    'ways to authenticate',
    rule('one', PORT, { authentication: { mode: 'required' } }),
    rule('two', PORT, { authentication: { mode: 'test-always-fail' } }),
    'authentication: test-always-fail conflicts with required',
  ],
])('different %s for the same peers and port conflict, told at the later policy', (_, one, two, message) => {
  const [finding, ...more] = findConflicts([one, two]);
  expect(more).toEqual([]);
  expect(finding).toMatchObject({ policy: two, path: expect.stringMatching(/^spec\.egress\[0\]/) });
  expect(finding!.message).toContain(message);
  expect(finding!.message).toContain('CNP ns/one egress[0]');
});

test.each([
  ['the same twice', rule('one', http), rule('two', http)],
  ['other subjects', rule('one', http), rule('two', kafka, {}, 'c')],
  ['listeners of different priorities', rule('one', listener('x', 5)), rule('two', listener('y', 6))],
  ['L7 beside plain ports', rule('one', http), rule('two', PORT)],
])('%s are no conflict', (_, one, two) => {
  expect(findConflicts([one, two])).toEqual([]);
});
