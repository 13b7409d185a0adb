// SPDX-License-Identifier: Apache-2.0
// Tests what the whole-cluster benches read: agents' log lines, the sandbox's progress lines, process status.
// The texts are as the programs print them.
import { describe, expect, it } from '@jest/globals';
import { residentMib } from './agent-memory.ts';
import { pluginDurations } from './plugin-timer.ts';
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

  it('finds the ADD calls of a namespace among the timed runs of the plugin', () => {
    const args = (namespace: string, pod: string): string =>
      `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${pod};K8S_POD_UID=1`;
    const times = [
      `12.50 ADD ${args('bench-1', 'a')}`,
      `9.00 DEL ${args('bench-1', 'a')}`,
      `4.00 ADD ${args('bench-11', 'b')}`,
      '',
    ];
    expect([...pluginDurations(times.join('\n'), 'bench-1')]).toEqual([['a', 12.5]]);
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
