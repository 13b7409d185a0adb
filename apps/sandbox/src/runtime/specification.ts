// SPDX-License-Identifier: Apache-2.0
// What cts-runtime reads: records `key=value`, each ended by a NUL byte.

/** A volume inside a container. `where` says in whose mount namespace `source` is looked up. */
export interface VolumeMount {
  readonly where: 'machine' | 'node';
  readonly source: string;
  /** Path inside `source`; never leads out of it. */
  readonly subPath?: string | undefined;
  readonly target: string;
  readonly readOnly: boolean;
  readonly propagation: 'private' | 'slave' | 'shared';
  readonly create?: 'dir-create' | 'file-create' | undefined;
}

/** Who a program runs as and what it may do. */
export interface ProcessIdentity {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  /** Allowed capabilities as a bit mask; undefined: all. */
  readonly capabilities: bigint | undefined;
  readonly noNewPrivileges: boolean;
}

export interface ProcessSpec {
  readonly arguments: readonly string[];
  readonly environment: readonly string[];
  readonly workingDirectory: string;
  readonly identity: ProcessIdentity;
}

export interface NodeSpec {
  readonly name: string;
  readonly netns: string;
  /** Folder for the node's overlay. */
  readonly dir: string;
  /** The node's cgroup; its processes sit in `runtime` and `pods` below it. */
  readonly cgroup: string;
  /** Machine directories that the node sees as its own, in order. */
  readonly binds: readonly { readonly source: string; readonly target: string }[];
}

export interface PodSandboxSpec {
  readonly nodePid: number;
  readonly cgroup: string;
  readonly hostNetwork: boolean;
  readonly netns: string;
  readonly hostname: string;
  /** `net/ipv4/...=value`. */
  readonly sysctls: readonly string[];
}

export interface ContainerRunSpec extends ProcessSpec {
  readonly nodePid: number;
  readonly podPid: number;
  /** Folder for the container's overlay; new for every start. */
  readonly dir: string;
  readonly cgroup: string;
  readonly shimCgroup: string;
  readonly logFile: string;
  /** Image layers, topmost first. */
  readonly layers: readonly string[];
  readonly mounts: readonly VolumeMount[];
  /** Folders of the machine that look empty inside. */
  readonly hidden: readonly string[];
  readonly privileged: boolean;
  readonly readOnlyRoot: boolean;
}

export interface ContainerExecSpec extends ProcessSpec {
  /** The container's first process. */
  readonly pid: number;
  readonly cgroup: string;
  readonly stdin: boolean;
  readonly tty: { readonly rows: number; readonly columns: number } | undefined;
}

/** @throws Error where a value holds a NUL byte, which no argument of a program can. */
export function encodeRecords(records: readonly (readonly [string, string])[]): Buffer {
  for (const [key, value] of records) {
    if (value.includes('\0')) throw new Error(`${key} holds a NUL byte`);
  }
  return Buffer.from(records.map(([key, value]) => `${key}=${value}\0`).join(''));
}

export function nodeRecords(spec: NodeSpec): Buffer {
  return encodeRecords([
    ['dir', spec.dir],
    ['netns', spec.netns],
    ['hostname', spec.name],
    ['cgroup', `${spec.cgroup}/runtime`],
    ['cgroup_view', spec.cgroup],
    ...spec.binds.map(({ source, target }) => ['bind', `${source}\t${target}`] as const),
  ]);
}

export function podRecords(spec: PodSandboxSpec): Buffer {
  return encodeRecords([
    ['node_pid', String(spec.nodePid)],
    ['cgroup', spec.cgroup],
    ['host_network', spec.hostNetwork ? '1' : '0'],
    ['netns', spec.netns],
    ['hostname', spec.hostname],
    ...spec.sysctls.map((setting) => ['sysctl', setting] as const),
  ]);
}

function processRecords(spec: ProcessSpec): (readonly [string, string])[] {
  const { identity } = spec;
  return [
    ...spec.arguments.map((value) => ['arg', value] as const),
    ...spec.environment.map((value) => ['env', value] as const),
    ['cwd', spec.workingDirectory],
    ['uid', String(identity.uid)],
    ['gid', String(identity.gid)],
    ...identity.groups.map((group) => ['group', String(group)] as const),
    ...(identity.capabilities === undefined ? [] : [['caps', identity.capabilities.toString(16)] as const]),
    ['no_new_privileges', identity.noNewPrivileges ? '1' : '0'],
  ];
}

function mountRecord(mount: VolumeMount): readonly [string, string] {
  const fields = [
    mount.where,
    mount.readOnly ? 'ro' : 'rw',
    mount.propagation,
    mount.create ?? 'any',
    mount.source,
    mount.subPath ?? '',
    mount.target,
  ];
  if (fields.some((field) => field.includes('\t'))) throw new Error(`mount ${mount.target} holds a tab`);
  return ['mount', fields.join('\t')];
}

export function containerRecords(spec: ContainerRunSpec): Buffer {
  return encodeRecords([
    ['node_pid', String(spec.nodePid)],
    ['pod_pid', String(spec.podPid)],
    ['dir', spec.dir],
    ['cgroup', spec.cgroup],
    ['shim_cgroup', spec.shimCgroup],
    ['log', spec.logFile],
    ...spec.layers.map((layer) => ['lower', layer] as const),
    ...spec.mounts.map(mountRecord),
    ...spec.hidden.map((path) => ['hide', path] as const),
    ['privileged', spec.privileged ? '1' : '0'],
    ['node_sys', spec.privileged ? '1' : '0'],
    ['read_only_root', spec.readOnlyRoot ? '1' : '0'],
    ...processRecords(spec),
  ]);
}

export function execRecords(spec: ContainerExecSpec): Buffer {
  return encodeRecords([
    ['pid', String(spec.pid)],
    ['cgroup', spec.cgroup],
    ['stdin', spec.stdin ? '1' : '0'],
    ...(spec.tty
      ? ([
          ['tty', '1'],
          ['rows', String(spec.tty.rows)],
          ['columns', String(spec.tty.columns)],
        ] as const)
      : []),
    ...processRecords(spec),
  ]);
}
