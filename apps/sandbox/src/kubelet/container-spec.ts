// SPDX-License-Identifier: Apache-2.0
// From a container of a pod's spec to what the runtime starts. Pure.
import { existsSync } from 'node:fs';
import type { Container, Pod } from '@cilium-ts/kube';
import type { ContainerRunSpec, VolumeMount } from '../runtime/specification.ts';
import { expand } from './environment.ts';
import { ContainerConfigError } from './pod-facts.ts';
import { isPrivileged, processIdentity } from './process-identity.ts';
import type { VolumeSource } from './volume-source.ts';
import { ACCOUNT_MOUNT, ACCOUNT_VOLUME } from './volumes.ts';

export interface ContainerPlaces {
  readonly nodePid: number;
  readonly podPid: number;
  readonly dir: string;
  readonly cgroup: string;
  readonly shimCgroup: string;
  readonly logFile: string;
  /** Machine files: resolv.conf, hosts, hostname of the pod, termination log of the container. */
  readonly resolvConf: string;
  readonly hosts: string;
  readonly hostname: string;
  readonly terminationLog: string;
  readonly images: string;
  readonly hidden: readonly string[];
}

/** Folder name of an image's layer: what stands between the last `/` and the tag or digest. */
export function imageName(image: string): string {
  return (image.split('/').at(-1) ?? '').split('@')[0]?.split(':')[0] ?? '';
}

/** @throws ContainerConfigError */
export function containerSpec(
  pod: Pod,
  container: Container,
  env: ReadonlyMap<string, string>,
  volumes: (name: string) => VolumeSource | undefined,
  places: ContainerPlaces,
): ContainerRunSpec {
  const command = container.command ?? [];
  if (command.length === 0) {
    throw new ContainerConfigError(
      `container ${container.name} has no command: images are not pulled here, so their entry points are unknown; set command`,
    );
  }
  const spec = pod.spec!;
  const layer = `${places.images}/${imageName(container.image ?? '')}`;
  return {
    arguments: [...command, ...(container.args ?? [])].map((text) => expand(text, env)),
    environment: [...env].map(([name, value]) => `${name}=${value}`),
    workingDirectory: container.workingDir ?? '/',
    identity: processIdentity(spec, container),
    nodePid: places.nodePid,
    podPid: places.podPid,
    dir: places.dir,
    cgroup: places.cgroup,
    shimCgroup: places.shimCgroup,
    logFile: places.logFile,
    layers: imageName(container.image ?? '') !== '' && existsSync(layer) ? [layer] : [],
    mounts: [...ownFiles(container, places), ...volumeMounts(pod, container, env, volumes)],
    hidden: places.hidden,
    privileged: isPrivileged(spec, container),
    readOnlyRoot: container.securityContext?.readOnlyRootFilesystem === true,
  };
}

function ownFiles(container: Container, places: ContainerPlaces): VolumeMount[] {
  const taken = new Set((container.volumeMounts ?? []).map(({ mountPath }) => mountPath));
  const files: [string, string][] = [
    [places.resolvConf, '/etc/resolv.conf'],
    [places.hosts, '/etc/hosts'],
    [places.hostname, '/etc/hostname'],
    [places.terminationLog, container.terminationMessagePath ?? '/dev/termination-log'],
  ];
  return files
    .filter(([, target]) => !taken.has(target))
    .map(([source, target]) => ({
      where: 'machine',
      source,
      target,
      readOnly: false,
      propagation: 'private',
    }));
}

const PROPAGATION = { HostToContainer: 'slave', Bidirectional: 'shared', None: 'private' } as const;

function volumeMounts(
  pod: Pod,
  container: Container,
  env: ReadonlyMap<string, string>,
  volumes: (name: string) => VolumeSource | undefined,
): VolumeMount[] {
  const wanted = [...(container.volumeMounts ?? [])];
  const account = volumes(ACCOUNT_VOLUME);
  if (account && !wanted.some(({ mountPath }) => mountPath === ACCOUNT_MOUNT)) {
    wanted.push({ name: ACCOUNT_VOLUME, mountPath: ACCOUNT_MOUNT, readOnly: true });
  }
  return wanted.map((mount) => {
    const source = volumes(mount.name);
    if (!source) {
      throw new ContainerConfigError(
        `container ${container.name}: volumeMounts names no volume of the pod: ${mount.name}`,
      );
    }
    const propagation =
      PROPAGATION[(mount.mountPropagation ?? 'None') as keyof typeof PROPAGATION] ?? 'private';
    if (propagation === 'shared' && !isPrivileged(pod.spec!, container)) {
      throw new ContainerConfigError(
        `container ${container.name}: mountPropagation Bidirectional is for privileged containers only`,
      );
    }
    const subPath = mount.subPathExpr === undefined ? mount.subPath : expand(mount.subPathExpr, env);
    return {
      where: source.where,
      source: source.path,
      subPath,
      target: mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`,
      readOnly: source.readOnly || mount.readOnly === true,
      propagation,
      create: source.create,
    };
  });
}
