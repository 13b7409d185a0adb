// SPDX-License-Identifier: Apache-2.0
// Tested: policy-scale runs and reports. How: its small form, with real API server, NATS and compiler processes.
import { expect, test } from '@jest/globals';
import { runCommand } from './command.ts';
import { policyScale } from './policy-scale.ts';

test('a few policies reach a few nodes', async () => {
  const out: string[] = [];
  const code = await runCommand(['policy-scale', '--small', '--json'], [policyScale], {
    out: (text) => out.push(text),
    error: () => undefined,
  });
  expect(code).toBe(0);
  const { rows } = JSON.parse(out.join('\n')) as { rows: { ours: number }[] };
  expect(rows).toHaveLength(3);
  expect(rows.every(({ ours }) => Number.isFinite(ours) && ours > 0)).toBe(true);
});
