// SPDX-License-Identifier: Apache-2.0
// Tested: the whole-cluster benches run and report figures; how good those are is judged by nobody here.
// How: the command line of the benches, small, in the cluster that is up; `start` ran before there was one.
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { kubectl, runBench, START_REPORT, type Outcome } from './cluster.ts';

interface Report {
  readonly bench: string;
  readonly machine: string;
  readonly date: string;
  readonly rows: readonly { readonly case: string; readonly unit: string; readonly ours: number }[];
}

function checkReport(name: string, { code, stdout, stderr }: Outcome): void {
  expect({ code, problem: code === 0 ? '' : stderr }).toEqual({ code: 0, problem: '' });
  const report = JSON.parse(stdout) as Report;
  expect(report).toMatchObject({ bench: name, machine: expect.stringContaining('Linux') });
  expect(report.rows.length).toBeGreaterThan(0);
  for (const row of report.rows) {
    expect(row).toMatchObject({ case: expect.any(String), unit: expect.any(String) });
    expect(Number.isFinite(row.ours) && row.ours > 0).toBe(true);
  }
}

test.each(['policy-latency', 'policy-churn', 'pod-start', 'agent-memory'])(
  '%s measures in a running cluster and leaves nothing behind',
  async (name) => {
    checkReport(name, await runBench(name));
    expect(await kubectl('get', 'namespaces', '-o', 'name')).not.toContain('bench-');
  },
  90_000,
);

const started = existsSync(START_REPORT);
(started ? test : test.skip)('start measures with clusters of its own (not where one is reused)', () => {
  checkReport('start', JSON.parse(readFileSync(START_REPORT, 'utf8')) as Outcome);
});
