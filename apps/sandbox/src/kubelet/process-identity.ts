// SPDX-License-Identifier: Apache-2.0
import type { Container, PodSpec } from '@cilium-ts/kube';
import type { ProcessIdentity } from '../runtime/specification.ts';

const CAPABILITIES = [
  'CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP',
  'LINUX_IMMUTABLE', 'NET_BIND_SERVICE', 'NET_BROADCAST', 'NET_ADMIN', 'NET_RAW', 'IPC_LOCK', 'IPC_OWNER',
  'SYS_MODULE', 'SYS_RAWIO', 'SYS_CHROOT', 'SYS_PTRACE', 'SYS_PACCT', 'SYS_ADMIN', 'SYS_BOOT', 'SYS_NICE',
  'SYS_RESOURCE', 'SYS_TIME', 'SYS_TTY_CONFIG', 'MKNOD', 'LEASE', 'AUDIT_WRITE', 'AUDIT_CONTROL', 'SETFCAP',
  'MAC_OVERRIDE', 'MAC_ADMIN', 'SYSLOG', 'WAKE_ALARM', 'BLOCK_SUSPEND', 'AUDIT_READ', 'PERFMON', 'BPF',
  'CHECKPOINT_RESTORE',
]; // prettier-ignore

const ORDINARY = [
  'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP', 'NET_BIND_SERVICE',
  'NET_RAW', 'SYS_CHROOT', 'MKNOD', 'AUDIT_WRITE', 'SETFCAP',
]; // prettier-ignore

/** The usual container set plus `add` minus `drop`. Names that no kernel has are left out. */
export function capabilityMask(add: readonly string[] = [], drop: readonly string[] = []): bigint {
  const plain = (names: readonly string[]): string[] =>
    names.map((name) => name.toUpperCase().replace(/^CAP_/, ''));
  const dropped = plain(drop);
  const added = plain(add);
  const names = new Set(dropped.includes('ALL') ? [] : ORDINARY);
  for (const name of dropped) names.delete(name);
  for (const name of added.includes('ALL') ? CAPABILITIES : added) names.add(name);
  let mask = 0n;
  for (const name of names) {
    const number = CAPABILITIES.indexOf(name);
    if (number >= 0) mask |= 1n << BigInt(number);
  }
  return mask;
}

/** Host-network and privileged containers work on the node itself: they keep everything. */
export function isPrivileged(pod: PodSpec, container: Container): boolean {
  return pod.hostNetwork === true || container.securityContext?.privileged === true;
}

export function processIdentity(pod: PodSpec, container: Container): ProcessIdentity {
  const outer = pod.securityContext;
  const inner = container.securityContext;
  const uid = inner?.runAsUser ?? outer?.runAsUser ?? 0;
  const groups = [
    ...(outer?.supplementalGroups ?? []),
    ...(outer?.fsGroup === undefined ? [] : [outer.fsGroup]),
  ];
  const gid = inner?.runAsGroup ?? outer?.runAsGroup ?? 0;
  return {
    uid,
    gid,
    groups: [gid, ...groups],
    capabilities: isPrivileged(pod, container)
      ? undefined
      : capabilityMask(inner?.capabilities?.add, inner?.capabilities?.drop),
    noNewPrivileges: inner?.allowPrivilegeEscalation === false,
  };
}
