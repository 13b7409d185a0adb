// SPDX-License-Identifier: Apache-2.0
// What a container of a pod's spec becomes: command, mounts, capabilities, and what is refused with which words.
import { describe, expect, it } from '@jest/globals';
import type { Container, Pod } from '@cilium-ts/kube';
import { containerSpec, imageName, type ContainerPlaces } from './container-spec.ts';
import { hostPathSource } from './host-path.ts';
import { capabilityMask } from './process-identity.ts';
import type { VolumeSource } from './volume-source.ts';

const places = {
  nodePid: 1, podPid: 2, dir: '/d', cgroup: '/c', shimCgroup: '/s', logFile: '/l', resolvConf: '/r', hosts: '/h',
  hostname: '/n', terminationLog: '/t', images: '/none', hidden: [],
} satisfies ContainerPlaces; // prettier-ignore
const volumes = new Map<string, VolumeSource>([['data', { where: 'machine', path: '/v', readOnly: false }]]);
const pod = (spec: object = {}): Pod =>
  ({ metadata: { name: 'p' }, spec: { containers: [], ...spec } }) as unknown as Pod;
const build = (container: object, spec: object = {}): ReturnType<typeof containerSpec> =>
  containerSpec(
    pod(spec),
    { name: 'c', image: 'x', ...container } as Container,
    new Map([['A', '1']]),
    (name) => volumes.get(name),
    places,
  );

describe('containerSpec', () => {
  it('refuses a container without a command and says why', () => {
    expect(() => build({ args: ['x'] })).toThrow('container c has no command: images are not pulled here');
  });

  it('expands command and arguments, and gives ordinary containers few capabilities', () => {
    const spec = build({ command: ['run', '$(A)'], args: ['$$(A)'] });
    expect(spec.arguments).toEqual(['run', '1', '$(A)']);
    expect(spec.privileged).toBe(false);
    expect(spec.identity.capabilities).toBe(0xa80425fbn);
    expect(build({ command: ['x'] }, { hostNetwork: true }).identity.capabilities).toBeUndefined();
  });

  it("places volumes after the pod's own files, which a volume may replace", () => {
    const spec = build({
      command: ['x'],
      volumeMounts: [{ name: 'data', mountPath: '/etc/hosts', subPathExpr: 's-$(A)' }],
    });
    const hosts = spec.mounts.filter(({ target }) => target === '/etc/hosts');
    expect(hosts).toEqual([
      {
        where: 'machine',
        source: '/v',
        subPath: 's-1',
        target: '/etc/hosts',
        readOnly: false,
        propagation: 'private',
        create: undefined,
      },
    ]);
  });

  it('refuses unknown volumes and two-way propagation of ordinary containers', () => {
    expect(() => build({ command: ['x'], volumeMounts: [{ name: 'no', mountPath: '/m' }] })).toThrow(
      'names no volume of the pod: no',
    );
    const shared = {
      command: ['x'],
      volumeMounts: [{ name: 'data', mountPath: '/m', mountPropagation: 'Bidirectional' }],
    };
    expect(() => build(shared)).toThrow('privileged containers only');
    expect(build(shared, { hostNetwork: true }).mounts.at(-1)?.propagation).toBe('shared');
  });
});

describe('imageName', () => {
  it('is what stands between the last slash and the tag or digest', () => {
    expect(['a/b/agent:1.0', 'agent', 'r:5000/x/agent@sha256:ab', ''].map(imageName)).toEqual([
      'agent',
      'agent',
      'agent',
      '',
    ]);
  });
});

describe('hostPathSource', () => {
  it("allows the node's own folders and those of the list, nothing else", () => {
    expect(hostPathSource({ path: '/var/run/cilium/', type: 'DirectoryOrCreate' }, [])).toMatchObject({
      where: 'node',
      create: 'dir-create',
    });
    expect(hostPathSource({ path: '/srv/data/x' }, ['/srv/data'])).toMatchObject({ where: 'machine' });
    expect(() => hostPathSource({ path: '/srv/database' }, ['/srv/data'])).toThrow(
      '--host-path /srv/database',
    );
    expect(() => hostPathSource({ path: '/opt/cni/../../etc/shadow' }, [])).toThrow('/etc/shadow');
  });
});

describe('capabilityMask', () => {
  it('adds and drops by name, ALL included', () => {
    expect(capabilityMask([], ['ALL'])).toBe(0n);
    expect(capabilityMask(['NET_ADMIN'], ['ALL'])).toBe(1n << 12n);
    expect(capabilityMask(['CAP_SYS_ADMIN'], []) & (1n << 21n)).not.toBe(0n);
    expect(capabilityMask(['ALL'], [])).toBe((1n << 41n) - 1n);
  });
});
