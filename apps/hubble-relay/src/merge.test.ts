// SPDX-License-Identifier: Apache-2.0
// Tested: merging of ordered streams, time of encoded responses, configuration. How: a clock by hand, random streams.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { GetFlowsResponse } from '@cilium-ts/proto';
import { Merger } from './merge.ts';
import { relayConfig } from './relay-config.ts';
import { responseTime } from './response-time.ts';

function drain(merger: Merger<number>): number[] {
  const found: number[] = [];
  for (let item = merger.next(); item !== undefined; item = merger.next()) found.push(item);
  return found;
}

describe('merging', () => {
  test('ordered streams become one ordered stream', () => {
    const streams = fc.array(fc.array(fc.nat(1000), { maxLength: 50 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(streams, (lists) => {
        const merger = new Merger<number>({ holdMs: Infinity, max: Infinity, now: () => 0 });
        const sources = lists.map((list) => ({ list: [...list].sort((a, b) => a - b) }));
        sources.forEach((source) => merger.open(source));
        const out: number[] = [];
        sources.forEach((source) => {
          for (const value of source.list) merger.push(source, BigInt(value), value);
          out.push(...drain(merger));
        });
        sources.forEach((source) => merger.close(source));
        out.push(...drain(merger));
        expect(out).toEqual(lists.flat().sort((a, b) => a - b));
        expect(merger.waiting).toBe(0);
      }),
    );
  });

  test('a silent stream holds the others only for a while', () => {
    let now = 0;
    const merger = new Merger<number>({ holdMs: 100, max: Infinity, now: () => now });
    const [loud, silent] = [{}, {}];
    merger.open(loud);
    merger.open(silent);
    merger.push(loud, 1n, 1);
    expect(drain(merger)).toEqual([]);
    now = 100;
    expect(drain(merger)).toEqual([1]);
  });

  test('too many waiting items leave at once', () => {
    const merger = new Merger<number>({ holdMs: Infinity, max: 2, now: () => 0 });
    const [loud, silent] = [{}, {}];
    merger.open(loud);
    merger.open(silent);
    for (const value of [1, 2, 3, 4]) merger.push(loud, BigInt(value), value);
    expect(drain(merger)).toEqual([1, 2]);
    expect(merger.waitingOf(loud)).toBe(2);
  });
});

test('the time of a response is read without decoding the flow', () => {
  const time = { seconds: 1_772_615_702n, nanos: 417_000_001 };
  const flow = { $case: 'flow' as const, value: { Summary: 'x', nodeName: 'node1' } };
  const bytes = GetFlowsResponse.encode(
    GetFlowsResponse.fromPartial({ responseTypes: flow, nodeName: 'n', time }),
  ).finish();
  expect(responseTime(bytes)).toBe(1_772_615_702_417_000_001n);
  expect(responseTime(new Uint8Array())).toBe(0n);
});

describe('configuration', () => {
  test('flags win over the environment', () => {
    const environment = { HUBBLE_RELAY_LISTEN_ADDRESS: ':1', HUBBLE_RELAY_RETRY_TIMEOUT: '250ms' };
    const config = relayConfig(['serve', '--listen-address=:2'], environment);
    expect(config).toMatchObject({ listenAddress: ':2', retryTimeoutMs: 250, sortBufferMax: 100 });
  });

  test.each([
    [[], /usage/],
    [['serve', '--nope=1'], /unknown flag --nope/],
    [['serve', '--retry-timeout=soon'], /a duration/],
    [['serve', '--log-level=loud'], /allowed: debug/],
    [['serve', '--sort-buffer-len-max=0'], /1 and more/],
  ])('%j is refused', (args, message) => expect(() => relayConfig(args, {})).toThrow(message));
});
