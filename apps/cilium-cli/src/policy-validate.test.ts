// SPDX-License-Identifier: Apache-2.0
// Tested: `cilium policy validate`. How: the command as a process of its own, without an agent, over files of a directory.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { runCilium, type Outcome } from './fake-agent.ts';

const FILES: Readonly<Record<string, string>> = {
  'good/web.yaml': `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  endpointSelector: {}
  ingress:
    - fromEndpoints: [{}]
    - {}
`,
  'good/service.yml': 'apiVersion: v1\nkind: Service\nmetadata: { name: web }\n',
  'good/group.yaml': 'apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: { name: g }\n',
  'good/notes.txt': 'kind: [',
  'bad/deep/two.json': JSON.stringify({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'knp' },
    spec: { podSelector: {}, ingress: [{ ports: [{ port: 99999 }] }] },
  }),
  'bad/kind.yaml': 'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolice\nmetadata: { name: x }\n',
  'bad/twice.yaml': `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: web }
spec: { endpointSelector: {}, ingress: [{ fromEntities: [host] }] }
---
apiVersion: cilium.io/v3
kind: CiliumNetworkPolicy
metadata: { name: web }
spec: { endpointSelector: {}, ingress: [{ fromEntities: [world] }] }
`,
  'bad/yaml.yaml': 'a: 1\nb: [',
  'none/service.yaml': 'apiVersion: v1\nkind: Service\n',
};

let root: string;
const run = (...args: string[]): Promise<Outcome> => runCilium('/nonexistent', 'policy', 'validate', ...args);

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'ctst-validate-'));
  for (const [name, text] of Object.entries(FILES)) {
    mkdirSync(join(root, name, '..'), { recursive: true });
    writeFileSync(join(root, name), text);
  }
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

test('warnings have their place and leave the exit code at 0', async () => {
  const { code, stdout } = await run(join(root, 'good'));
  expect(stdout.replaceAll(root, '')).toBe(
    '/good/web.yaml:8:7: warning: CiliumNetworkPolicy/shop/web spec.ingress[1]: selects no peer: it only puts its subject into default deny\n' +
      '1 policies, 0 errors, 1 warnings\n',
  );
  expect(code).toBe(0);
});

test('every error of every file is printed, and the exit code is 1', async () => {
  const { code, stdout } = await run(join(root, 'bad'), '-o', 'json');
  const { valid, problems } = JSON.parse(stdout) as {
    valid: boolean;
    problems: { file: string; line: number; severity: string; path: string }[];
  };
  expect(valid).toBe(false);
  expect(problems.map(({ file, line, path }) => `${file.replace(root, '')}:${line} ${path}`)).toEqual([
    '/bad/deep/two.json:1 spec.ingress[0].ports[0].port',
    '/bad/kind.yaml:2 kind',
    '/bad/twice.yaml:6 apiVersion',
    '/bad/twice.yaml:8 metadata.name',
    '/bad/yaml.yaml:2 ',
  ]);
  expect(code).toBe(1);
});

test('no policy at all and a file that is not there are errors', async () => {
  expect(await run(join(root, 'none'))).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no policy in'),
  });
  expect((await run(join(root, 'missing'))).stderr).toContain('missing: ENOENT');
});
