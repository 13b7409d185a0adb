// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { errorMessage } from '@cilium-ts/base';
import { isSystemError, type Native } from '@cilium-ts/native';
import { AttachType, MapFlag, MapType, ProgramType } from './codec.ts';

export const FEATURES = [
  'btf',
  'tcx',
  'xdp',
  'xdp-native',
  'redirect-peer',
  'redirect-neigh',
  'ringbuf',
  'lpm-trie',
  'hash-of-maps',
  'cgroup-sock-addr',
] as const;
export type Feature = (typeof FEATURES)[number];

export interface FeatureState {
  readonly available: boolean;
  /** Why not: the kernel's words, or that it was switched off. */
  readonly reason: string | undefined;
}

export interface FeatureTable {
  /** `uname -r` */
  readonly kernel: string;
  readonly features: Readonly<Record<Feature, FeatureState>>;
  has(feature: Feature): boolean;
  /** `kernel 6.1.0 has no tcx (EINVAL ...)`, for log lines that name the fallback taken. */
  explain(feature: Feature): string;
}

export interface ProbeOptions {
  /** Features to treat as missing, so that fallbacks can be tested. */
  readonly disabled?: readonly Feature[];
}

const NO_DEVICE = 0x7fffffff;

function instruction(code: number, registers: number, offset: number, immediate: number): number[] {
  const imm = [0, 8, 16, 24].map((shift) => (immediate >> shift) & 0xff);
  return [code, registers, offset & 0xff, (offset >> 8) & 0xff, ...imm];
}

const returning = (value: number): number[] => [
  ...instruction(0xb7, 0, 0, value),
  ...instruction(0x95, 0, 0, 0),
];

/** A program that calls a helper with small numbers and returns. */
function calling(helper: number, arguments_: readonly number[]): Uint8Array {
  const loads = arguments_.flatMap((value, i) => instruction(0xb7, i + 1, 0, value));
  return Uint8Array.from([...loads, ...instruction(0x85, 0, 0, helper), ...returning(0)]);
}

function tryCreate(native: Native, create: () => number): void {
  native.fdClose({ fd: create() });
}

function tryProgram(native: Native, type: number, insns: Uint8Array, expectedAttachType = 0): void {
  tryCreate(native, () => native.programLoad({ type, name: 'probe', insns, expectedAttachType }));
}

// A kernel with tcx looks for the device; one without does not know the attach type.
function tryTcx(native: Native): void {
  const insns = Uint8Array.from(returning(0));
  const program = native.programLoad({ type: ProgramType.schedCls, name: 'probe', insns });
  try {
    tryCreate(native, () =>
      native.linkCreate({ program, attachType: AttachType.tcxIngress, target: NO_DEVICE }),
    );
  } catch (error) {
    if (!isSystemError(error, 'ENODEV')) throw error;
  } finally {
    native.fdClose({ fd: program });
  }
}

function tryMap(native: Native, type: number, sizes: [number, number, number], flags = 0): void {
  const [keySize, valueSize, maxEntries] = sizes;
  tryCreate(native, () => native.mapCreate({ type, name: 'probe', keySize, valueSize, maxEntries, flags }));
}

function probeHashOfMaps(native: Native): void {
  const inner = { type: MapType.hash, name: 'probe', keySize: 4, valueSize: 4, maxEntries: 1 };
  const innerFd = native.mapCreate(inner);
  try {
    tryCreate(native, () => native.mapCreate({ ...inner, type: MapType.hashOfMaps, innerFd }));
  } finally {
    native.fdClose({ fd: innerFd });
  }
}

const PROBES: Readonly<Record<Feature, (native: Native) => void>> = {
  btf: () => {
    if (!existsSync('/sys/kernel/btf/vmlinux')) throw new Error('no /sys/kernel/btf/vmlinux');
  },
  tcx: tryTcx,
  xdp: (native) => tryProgram(native, ProgramType.xdp, Uint8Array.from(returning(2))),
  // Whether a driver has the hook shows only when attaching to its device; this entry exists to be switched off.
  'xdp-native': (native) => tryProgram(native, ProgramType.xdp, Uint8Array.from(returning(2))),
  'redirect-peer': (native) => tryProgram(native, ProgramType.schedCls, calling(155, [1, 0])),
  'redirect-neigh': (native) => tryProgram(native, ProgramType.schedCls, calling(152, [1, 0, 0, 0])),
  ringbuf: (native) => tryMap(native, MapType.ringbuf, [0, 0, 65536]),
  'lpm-trie': (native) => tryMap(native, MapType.lpmTrie, [8, 4, 1], MapFlag.noPrealloc),
  'hash-of-maps': probeHashOfMaps,
  'cgroup-sock-addr': (native) =>
    tryProgram(
      native,
      ProgramType.cgroupSockAddr,
      Uint8Array.from(returning(1)),
      AttachType.cgroupInet4Connect,
    ),
};

function probe(native: Native, feature: Feature, disabled: readonly Feature[]): FeatureState {
  if (disabled.includes(feature)) return { available: false, reason: 'switched off by configuration' };
  try {
    PROBES[feature](native);
    return { available: true, reason: undefined };
  } catch (error) {
    return { available: false, reason: errorMessage(error).split('\n', 1)[0] };
  }
}

/** Asks the running kernel once; takes some milliseconds. Needs the rights that loading programs needs. */
export function probeFeatures(native: Native, options: ProbeOptions = {}): FeatureTable {
  const kernel = release();
  const entries = FEATURES.map(
    (feature) => [feature, probe(native, feature, options.disabled ?? [])] as const,
  );
  const features = Object.fromEntries(entries) as Record<Feature, FeatureState>;
  return {
    kernel,
    features,
    has: (feature) => features[feature].available,
    explain: (feature) => {
      const { available, reason } = features[feature];
      return available ? `kernel ${kernel} has ${feature}` : `kernel ${kernel} has no ${feature} (${reason})`;
    },
  };
}
