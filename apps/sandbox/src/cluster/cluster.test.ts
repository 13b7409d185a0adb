// SPDX-License-Identifier: Apache-2.0
// Options, address plan, machine checks and manifests: what is accepted, and the words for what is not.
import { describe, expect, it } from '@jest/globals';
import { parseManifest } from './manifests.ts';
import { parseCommand } from './options.ts';
import { planCluster } from './plan.ts';
import { findCgroupMount, machineProblem } from './preflight.ts';

describe('parseCommand', () => {
  it('reads the options of start', () => {
    expect(
      parseCommand(['start', '--nodes', '5', '--detach', '--host-path', '/a', '--host-path', '/b']),
    ).toMatchObject({
      name: 'start',
      options: { nodes: 5, detach: true, demo: true, hostPaths: ['/a', '/b'], kubeconfig: undefined },
    });
  });

  it('names what is wrong', () => {
    expect(() => parseCommand(['start', '--node', '5'])).toThrow("'--node'");
    expect(() => parseCommand(['start', '--nodes', 'two'])).toThrow('--nodes must be a whole number');
    expect(() => parseCommand(['start', '--host-path', 'relative'])).toThrow('absolute path');
    expect(() => parseCommand(['restart'])).toThrow('allowed: start, stop, status');
  });
});

describe('planCluster', () => {
  it('gives nodes and outside hosts their addresses', () => {
    const [first, second, outside] = planCluster(2, 1).nodes;
    expect(first).toMatchObject({
      name: 'node1',
      ipv4: '192.168.77.1',
      podCidrs: ['10.244.1.0/24', 'fd00:10:244:1::/64'],
    });
    expect(second).toMatchObject({ ipv6: 'fd77::2' });
    expect(outside).toMatchObject({ name: 'outside1', ipv4: '192.168.77.201', outside: true, podCidrs: [] });
  });

  it('refuses counts that have no addresses', () => {
    expect(() => planCluster(0, 0)).toThrow('--nodes must be a whole number from 1 to 100, not 0');
    expect(() => planCluster(1, 51)).toThrow('--outside');
  });
});

describe('machineProblem', () => {
  const good = {
    uid: 0,
    kernel: '6.1',
    hasBtf: true,
    filesystems: 'nodev\tbpf\nnodev\tcgroup2\nnodev\toverlay\n',
    mounts: '22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:4 / /proc rw - proc proc rw\n',
  };

  it('accepts a machine with BTF, bpffs, cgroup v2 and overlayfs, for root', () => {
    expect(machineProblem(good)).toBeUndefined();
  });

  it('says in one line what is missing', () => {
    expect(machineProblem({ ...good, uid: 1000 })).toContain('root');
    expect(machineProblem({ ...good, hasBtf: false })).toContain('CONFIG_DEBUG_INFO_BTF');
    expect(machineProblem({ ...good, filesystems: 'nodev\tcgroup2\nnodev\toverlay\n' })).toContain(
      'lacks bpffs',
    );
    expect(machineProblem({ ...good, filesystems: 'nodev\tbpf\nnodev\tcgroup\nnodev\toverlay\n' })).toContain(
      'lacks cgroup v2',
    );
    expect(machineProblem({ ...good, mounts: '23 22 0:4 / /proc rw - proc proc rw\n' })).toContain(
      'mount --rbind DIR DIR',
    );
  });
});

describe('findCgroupMount', () => {
  it('finds the whole hierarchy, not a part of it', () => {
    const line = (root: string, at: string): string =>
      `41 31 0:38 ${root} ${at} rw,relatime shared:9 - cgroup2 cgroup2 rw\n`;
    expect(findCgroupMount(line('/part', '/x') + line('/', '/sys/fs/cgroup/unified'))).toBe(
      '/sys/fs/cgroup/unified',
    );
    expect(findCgroupMount('24 1 8:1 / / rw - ext4 /dev/sda rw\n')).toBeUndefined();
  });
});

describe('parseManifest', () => {
  it('reads several documents and takes lists apart', () => {
    const text =
      'apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n# nothing\n---\napiVersion: v1\nkind: ConfigMapList\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n';
    expect(parseManifest(text, 'f').map(({ metadata }) => metadata.name)).toEqual(['a', 'b']);
  });

  it('names the source of what is not an object', () => {
    expect(() => parseManifest('kind: X\n', 'file.yaml')).toThrow('file.yaml: a document lacks apiVersion');
    expect(() => parseManifest('a: [\n', 'file.yaml')).toThrow('file.yaml: ');
  });
});
