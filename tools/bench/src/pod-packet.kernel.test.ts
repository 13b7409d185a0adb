// SPDX-License-Identifier: Apache-2.0
// Runs pod-packet small, so that it cannot rot: every case's answer is checked by the bench itself.
// Needs root, a compiled add-on and the BPF objects in dist/bpf.
import { expect, it } from '@jest/globals';
import { podPacket } from './pod-packet.ts';

it('measures every case of the pod programs', async () => {
  const rows = await podPacket.run({ small: true, log: () => undefined });
  expect(rows.map((row) => row.case)).toContain('pod egress, new flow');
  for (const row of rows) expect(row.unit).toBe('ns/packet');
}, 30_000);
