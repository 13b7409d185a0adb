// SPDX-License-Identifier: Apache-2.0
// Tests what the whole-cluster benches read: agents' log lines, the sandbox's progress lines, process status.
// The texts are as the programs print them.
import { describe, expect, it } from '@jest/globals';
import { residentMib } from './agent-memory.ts';
import { addDurations } from './pod-start.ts';
import { connectionOf } from './start.ts';

describe('readings', () => {
  it('finds the ADD calls of a namespace in an agent log', () => {
    const line = (command: string, namespace: string, pod: string, ms: number): string =>
      JSON.stringify({
        level: 'info',
        command,
        args: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${pod};K8S_POD_UID=1`,
        ms,
        message: 'CNI',
      });
    const log = [
      'not JSON',
      line('ADD', 'bench-1', 'a', 3.5),
      line('DEL', 'bench-1', 'a', 9),
      line('ADD', 'bench-11', 'b', 4),
    ];
    expect([...addDurations(log.join('\n'), 'bench-1')]).toEqual([['a', 3.5]]);
  });

  it('tells the two first connections from other progress lines', () => {
    const lines = [
      '  2.91 s  demo ready',
      '  3.02 s  allowed: frontend -> backend 10.244.1.7:8080',
      '  3.10 s  denied: frontend -> api-server 10.244.2.5:80',
      '  3.30 s  denied: frontend looks up "backend" in the cluster DNS',
    ];
    expect(lines.map(connectionOf)).toEqual([undefined, 'allowed', 'denied', undefined]);
  });

  it('reads resident memory in MiB', () => {
    expect(residentMib('VmPeak:\t  900 kB\nVmRSS:\t  2048 kB\n')).toBe(2);
    expect(() => residentMib('')).toThrow('VmRSS');
  });
});
