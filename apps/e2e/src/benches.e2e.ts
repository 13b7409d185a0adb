// SPDX-License-Identifier: Apache-2.0
// Tested: the whole-cluster benches run and report figures; how good those are is judged by nobody here.
// How: the command line of the benches, small, in the cluster that is up. `start` needs a machine without one.
import { expect, test } from '@jest/globals';
import { kubectl, NODE, run } from './cluster.ts';

interface Report {
  readonly bench: string;
  readonly machine: string;
  readonly date: string;
  readonly rows: readonly { readonly case: string; readonly unit: string; readonly ours: number }[];
}

const FLAGS = ['--conditions=@cilium-ts/source', '--disable-warning=ExperimentalWarning'];

test.each(['policy-latency', 'pod-start', 'agent-memory'])(
  '%s measures in a running cluster and leaves nothing behind',
  async (name) => {
    const args = [...FLAGS, 'tools/bench/src/main.ts', name, '--small', '--json'];
    const { code, stdout, stderr } = await run(NODE, args);
    expect({ code, problem: code === 0 ? '' : stderr }).toEqual({ code: 0, problem: '' });
    const report = JSON.parse(stdout) as Report;
    expect(report).toMatchObject({ bench: name, machine: expect.stringContaining('Linux') });
    expect(report.rows.length).toBeGreaterThan(0);
    for (const row of report.rows) {
      expect(row).toMatchObject({ case: expect.any(String), unit: expect.any(String) });
      expect(Number.isFinite(row.ours) && row.ours > 0).toBe(true);
    }
    expect(await kubectl('get', 'namespaces', '-o', 'name')).not.toContain('bench-');
  },
  90_000,
);
