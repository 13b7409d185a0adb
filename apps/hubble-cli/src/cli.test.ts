// SPDX-License-Identifier: Apache-2.0
// Tested: flags to filters and requests, times, tables. How: tables of arguments and expected filters.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { FlowFilter, GetNodesResponse, ServerStatusResponse } from '@cilium-ts/proto';
import { parseArguments, parseDuration } from './arguments.ts';
import { ageText, nodesText } from './list.ts';
import { planObserve } from './observe.ts';
import { statusText } from './status.ts';
import { parseTime } from './time-input.ts';

const NOW = Date.parse('2026-03-04T09:15:00Z');
const plan = (args: string) => planObserve(args === '' ? [] : args.split(' '), NOW, false);
const filters = (args: string): { allow: unknown[]; deny: unknown[] } => {
  const { allow, deny } = plan(args).filters;
  return {
    allow: allow.map((one) => FlowFilter.toJSON(one)),
    deny: deny.map((one) => FlowFilter.toJSON(one)),
  };
};

describe('filters', () => {
  test.each<[string, unknown[], unknown[]]>([
    ['', [], []],
    ['--verdict dropped,forwarded', [{ verdict: ['DROPPED', 'FORWARDED'] }], []],
    ['--pod a/b', [{ source_pod: ['a/b'] }, { destination_pod: ['a/b'] }], []],
    ['--from-pod a/b --to-port 80', [{ source_pod: ['a/b'], destination_port: ['80'] }], []],
    ['-n ns', [{ source_pod: ['ns/'] }, { destination_pod: ['ns/'] }], []],
    ['-n ns --pod web', [{ source_pod: ['ns/web'] }, { destination_pod: ['ns/web'] }], []],
    ['--from-namespace a --to-namespace b', [{ source_pod: ['a/'], destination_pod: ['b/'] }], []],
    ['-A', [{ source_pod: ['/'] }, { destination_pod: ['/'] }], []],
    [
      '--port 53 --protocol udp',
      [
        { protocol: ['udp'], source_port: ['53'] },
        { protocol: ['udp'], destination_port: ['53'] },
      ],
      [],
    ],
    ['--to-identity world --not --ipv6', [{ destination_identity: [2] }], [{ ip_version: ['IPv6'] }]],
    ['-t trace:to-endpoint -t drop', [{ event_type: [{ type: 4, match_sub_type: true }, { type: 1 }] }], []],
    ['--from-label k8s:app=x,tier!=y', [{ source_label: ['k8s:app=x,tier!=y'] }], []],
    ['--tcp-flags syn,ack', [{ tcp_flags: [{ SYN: true, ACK: true }] }], []],
    ['--from-workload Deployment/web', [{ source_workload: [{ name: 'web', kind: 'Deployment' }] }], []],
    ['--drop-reason-desc policy_denied', [{ drop_reason_desc: ['POLICY_DENIED'] }], []],
    ['--allowlist {"uuid":["x"]}', [{ uuid: ['x'] }], []],
  ])('%s', (args, allow, deny) => expect(filters(args)).toEqual({ allow, deny }));

  test.each([
    ['--not', /--not at the end/],
    ['--not --not --ipv4', /one of them is enough/],
    ['--label a --from-label b', /cannot be combined/],
    ['--encrypted --unencrypted', /cannot be combined/],
    ['--identity nobody', /invalid identity/],
    ['--type nothing', /allowed: drop/],
    ['--type trace:nowhere', /unknown sub-type/],
    ['--tcp-flags XYZ', /invalid TCP flag/],
    ['--allowlist {', /--allowlist/],
    ['--pod', /needs a value/],
    ['extra', /unexpected argument/],
  ])('%s is refused', (args, message) => expect(() => plan(args)).toThrow(message));
});

describe('selection', () => {
  test.each([
    ['', 20n, false, false],
    ['--last 5', 5n, false, false],
    ['--first 5', 5n, false, true],
    ['-f', 0n, true, false],
    ['-f --last 3', 3n, true, false],
    ['--since 5m', 0n, false, false],
    ['--all', 18_446_744_073_709_551_615n, false, false],
  ])('%s', (args, number, follow, first) =>
    expect(plan(args).request).toMatchObject({ number, follow, first }),
  );

  test.each([
    '--first 1 --follow',
    '--last 1 --all',
    '-o table -f',
    '-o xml',
    '--last x',
    '--since never',
    '--field-mask IP',
  ])('%s is refused', (args) => expect(() => plan(args)).toThrow());

  test.each([
    ['90s', '2026-03-04T09:13:30.000Z'],
    ['1h30m', '2026-03-04T07:45:00.000Z'],
    ['2026-03-04', '2026-03-04T00:00:00.000Z'],
    ['2026-03-04T09', '2026-03-04T09:00:00.000Z'],
    ['2026-03-04T09:15+02:00', '2026-03-04T07:15:00.000Z'],
    ['2026-03-04T09:15:02.417Z', '2026-03-04T09:15:02.417Z'],
    ['Wed, 04 Mar 2026 09:15:02 +0000', '2026-03-04T09:15:02.000Z'],
  ])('time %s', (text, expected) => {
    const { seconds, nanos } = parseTime(text, NOW);
    expect(new Date(Number(seconds) * 1000 + nanos / 1e6).toISOString()).toBe(expected);
  });

  test('shorts may be joined', () => {
    const specs = [
      { name: 'follow', short: 'f', kind: 'flag' as const, help: '' },
      { name: 'output', short: 'o', kind: 'value' as const, help: '' },
    ];
    const uses = [
      { name: 'follow', value: undefined },
      { name: 'output', value: 'json' },
    ];
    expect(parseArguments(['-fo', 'json'], specs).uses).toEqual(uses);
    expect(parseArguments(['-f', '-ojson'], specs).uses).toEqual(uses);
    expect(parseDuration('1x')).toBeUndefined();
  });
});

describe('layouts', () => {
  test('status', () => {
    const server = ServerStatusResponse.fromPartial({
      numFlows: 8190n,
      maxFlows: 8190n,
      flowsRate: 41.2,
      numConnectedNodes: 2,
      numUnavailableNodes: 1,
      unavailableNodes: ['east/n3'],
    });
    expect(statusText(server, 'Ok', 'localhost:4245', 'compact')).toBe(
      'Healthcheck (via localhost:4245): Ok\nCurrent/Max Flows: 8,190/8,190 (100.00%)\nFlows/s: 41.20\nConnected Nodes: 2/3\nUnavailable Nodes: 1\n  - east/n3\n',
    );
  });

  test('nodes', () => {
    const { nodes } = GetNodesResponse.fromPartial({
      nodes: [
        { name: 'east/n3', state: 2 },
        {
          name: 'east/n1',
          state: 1,
          uptimeNs: 11_525_000_000_000n,
          numFlows: 4095n,
          maxFlows: 4095n,
          seenFlows: 238_683n,
        },
      ],
    });
    expect(nodesText(nodes, 'table')).toBe(
      'NAME      STATUS        AGE       FLOWS/S   CURRENT/MAX-FLOWS\n' +
        'east/n1   Connected     3h12m5s   20.71     4095/4095 (100.00%)\n' +
        'east/n3   Unavailable   N/A       N/A       N/A\n',
    );
    expect(ageText(61_000_000_000n)).toBe('1m1s');
  });
});

test('a file of JSON lines is shown like a server’s flows', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ctst-cli-'));
  try {
    const line = (verdict: string): string =>
      JSON.stringify({
        flow: { time: '2026-03-04T09:15:02.417Z', verdict, event_type: { type: 4 } },
        time: '2026-03-04T09:15:02.417Z',
      });
    writeFileSync(join(folder, 'flows.json'), `${line('FORWARDED')}\n${line('DROPPED')}\n`);
    const args = [
      '--conditions=@cilium-ts/source',
      'apps/hubble-cli/src/main.ts',
      'observe',
      '--input-file',
      join(folder, 'flows.json'),
    ];
    const text = execFileSync(process.execPath, [...args, '--verdict', 'DROPPED'], { encoding: 'utf8' });
    expect(text).toBe('Mar  4 09:15:02.417:  (unknown) <>  (unknown) to-endpoint DROPPED ()\n');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
