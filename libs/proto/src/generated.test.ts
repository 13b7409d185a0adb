// SPDX-License-Identifier: Apache-2.0
// Tested: committed code is what the .proto files give; numbers and JSON names are the public ones. How: a fresh run of
// the generator into a folder of its own, and known bytes.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { Flow, GetFlowsResponse, ObserverDefinition } from './index.ts';

const files = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .sort();

describe('generated code', () => {
  const buf = join(process.cwd(), 'node_modules/@bufbuild/buf/bin/buf');
  const run = existsSync(buf) ? test : test.skip;

  run(
    'is what the .proto files give',
    () => {
      const out = mkdtempSync(join(tmpdir(), 'proto-test-'));
      try {
        execFileSync(process.execPath, ['libs/proto/generate.mjs', '--out', out], { stdio: 'pipe' });
        const committed = join(process.cwd(), 'libs/proto/src/generated');
        expect(files(committed)).toEqual(files(out));
        for (const name of files(out)) {
          expect(readFileSync(join(committed, name), 'utf8')).toBe(readFileSync(join(out, name), 'utf8'));
        }
      } finally {
        rmSync(out, { recursive: true, force: true });
      }
    },
    60_000,
  );

  test('service paths are the public ones', () => {
    expect(ObserverDefinition.fullName).toBe('observer.Observer');
    expect(ObserverDefinition.methods.getFlows.name).toBe('GetFlows');
  });

  test('JSON has the names of the .proto files and texts for 64-bit numbers', () => {
    const flow = Flow.fromPartial({
      verdict: 2,
      dropReasonDesc: 133,
      IP: { source: '10.0.0.1', ipVersion: 1 },
      l4: { protocol: { $case: 'TCP', value: { sourcePort: 1, destinationPort: 2, flags: { SYN: true } } } },
      isReply: false,
      socketCookie: 5n,
      Type: 1,
      Summary: 'x',
    });
    const response = GetFlowsResponse.fromPartial({
      responseTypes: { $case: 'flow', value: flow },
      nodeName: 'n',
    });
    expect(GetFlowsResponse.toJSON(response)).toEqual({
      flow: {
        verdict: 'DROPPED',
        drop_reason_desc: 'POLICY_DENIED',
        IP: { source: '10.0.0.1', ipVersion: 'IPv4' },
        l4: { TCP: { source_port: 1, destination_port: 2, flags: { SYN: true } } },
        is_reply: false,
        socket_cookie: '5',
        Type: 'L3_L4',
        Summary: 'x',
      },
      node_name: 'n',
    });
    const bytes = GetFlowsResponse.encode(response).finish();
    expect(GetFlowsResponse.decode(bytes)).toEqual(response);
  });
});
