// SPDX-License-Identifier: Apache-2.0
// Tested: the XDP program of native devices: prefilter by source prefix, counters, broken frames.
// How: the compiled program runs on hand-made packets by BPF_PROG_TEST_RUN.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { LAYOUT_HASH, XdpVerdict, cidrDenyMap, xdpMetricsMap } from '@cilium-ts/abi';
import { BpfObject, type BpfProgram } from '@cilium-ts/bpf';
import { loadNative } from '@cilium-ts/native';
import { buildPacket } from './packet.ts';

const XDP_DROP = 1;
const XDP_PASS = 2;

let object: BpfObject;
let program: BpfProgram;

beforeAll(async () => {
  const path = join(process.env['CILIUM_TS_BPF'] ?? 'dist/bpf', 'bpf_xdp.o');
  object = await BpfObject.load(loadNative(), path, { expectedLayoutHash: LAYOUT_HASH });
  program = object.program('cil_xdp_entry');
  const denied = object.map(cidrDenyMap);
  denied.set({ prefixlen: 96 + 24, addr: '203.0.113.0' }, { packets: 0n });
  denied.set({ prefixlen: 32, addr: '2001:db8::' }, { packets: 0n });
  denied.close();
});
afterAll(() => {
  program.close();
  object.close();
});

function run(source: string, destination: string): number {
  return program.testRun({ data: buildPacket({ source, destination, protocol: 'udp' }) }).retval;
}

function counted(verdict: number): bigint {
  const metrics = object.perCpuMap(xdpMetricsMap);
  const sum = metrics.get({ verdict })!.reduce((total, value) => total + value.packets, 0n);
  metrics.close();
  return sum;
}

describe('the XDP program', () => {
  test.each([
    ['203.0.113.9', '192.168.77.1', XDP_DROP],
    ['203.0.114.9', '192.168.77.1', XDP_PASS],
    ['2001:db8::9', 'fd77::1', XDP_DROP],
    ['2001:db9::9', 'fd77::1', XDP_PASS],
  ])('a packet from %s to %s gives %d', (source, destination, verdict) => {
    expect(run(source, destination)).toBe(verdict);
  });

  test('verdicts are counted', () => {
    const [drops, passes] = [counted(XdpVerdict.XDP_VERDICT_DROP), counted(XdpVerdict.XDP_VERDICT_PASS)];
    run('203.0.113.9', '192.168.77.1');
    run('198.51.100.1', '192.168.77.1');
    expect(counted(XdpVerdict.XDP_VERDICT_DROP)).toBe(drops + 1n);
    expect(counted(XdpVerdict.XDP_VERDICT_PASS)).toBe(passes + 1n);
  });

  test('a frame that is cut inside its IP header is left to the stack', () => {
    const frame = buildPacket({ source: '203.0.113.9', destination: '192.168.77.1', protocol: 'udp' });
    expect(program.testRun({ data: frame.subarray(0, 30) }).retval).toBe(XDP_PASS);
  });
});
