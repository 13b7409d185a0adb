// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { AppError } from '@cilium-ts/base';
import { isSystemError, type Native, type ObjectHandle, type ObjectMap } from '@cilium-ts/native';
import type { MapSpec, OuterMapSpec } from './codec.ts';
import { BpfMap, PerCpuMap } from './map.ts';
import { OuterMap } from './outer-map.ts';
import { BpfProgram } from './program.ts';

export interface LoadOptions {
  /** Constants of .rodata to overwrite, by name. */
  readonly constants?: Readonly<Record<string, Uint8Array>>;
  /** Compared with the u32 at byte 4 of the object's own `config` before it is overwritten. */
  readonly expectedLayoutHash?: number;
  /** max_entries by map name, over what the object says. */
  readonly mapSizes?: Readonly<Record<string, number>>;
  /** Directory in a bpffs: maps are kept there under their names and found again by the next load. */
  readonly pinDirectory?: string;
  /** Of which maps; all unless told. */
  readonly pinned?: (name: string) => boolean;
  /** Maps of other objects to use instead of own ones. */
  readonly reuse?: Readonly<Record<string, { readonly fd: number }>>;
  /** Only these programs are loaded; all unless told. */
  readonly programs?: readonly string[];
}

/** A pinned map that could not be kept, and why. */
export interface ReplacedPin {
  readonly name: string;
  readonly reason: string;
}

interface Pinning {
  readonly kept: string[];
  readonly replaced: ReplacedPin[];
  readonly fresh: { name: string; path: string }[];
}

const LAYOUT_HASH_OFFSET = 4;
const MMAPABLE_OR_FROZEN = 0x400 | 0x80 | 0x100;

/** A BPF object whose programs the kernel has accepted. */
export class BpfObject {
  readonly path: string;
  readonly kept: readonly string[];
  /** Report these to the user: the state in them is lost. */
  readonly replaced: readonly ReplacedPin[];
  readonly #native: Native;
  readonly #handle: ObjectHandle;
  readonly #programs: readonly string[];
  readonly #maps: readonly string[];

  private constructor(
    native: Native,
    path: string,
    handle: ObjectHandle,
    names: [string[], string[]],
    pins: Pinning,
  ) {
    this.#native = native;
    this.path = path;
    this.#handle = handle;
    [this.#programs, this.#maps] = names;
    this.kept = pins.kept;
    this.replaced = pins.replaced;
  }

  /**
   * Opens, patches, verifies and loads a file.
   * @throws AppError `layout-mismatch`, `bpf-object`; SystemError with the end of the verifier's log
   */
  static async load(native: Native, path: string, options: LoadOptions = {}): Promise<BpfObject> {
    const handle = await native.objectOpenAsync({ path });
    try {
      const { maps, programs } = native.objectDescribe({ object: handle });
      patchConstants(native, handle, path, options);
      selectPrograms(
        native,
        handle,
        path,
        programs.map((program) => program.name),
        options.programs,
      );
      const own = maps.filter((map) => !map.internal);
      const pins = preparePins(native, handle, own, options);
      await native.objectLoadAsync({ object: handle });
      for (const pin of pins.fresh) pinMap(native, handle, pin.name, pin.path);
      const names: [string[], string[]] = [programs.map((p) => p.name), own.map((map) => map.name)];
      return new BpfObject(native, path, handle, names, pins);
    } catch (error) {
      native.objectClose({ object: handle });
      throw error;
    }
  }

  get programNames(): readonly string[] {
    return this.#programs;
  }

  get mapNames(): readonly string[] {
    return this.#maps;
  }

  /** The caller closes it; it outlives the object. */
  program(name: string): BpfProgram {
    return new BpfProgram(this.#native, this.#native.objectProgramFd({ object: this.#handle, name }), name);
  }

  map<K, V>(spec: MapSpec<K, V>): BpfMap<K, V> {
    return new BpfMap(this.#native, this.mapFd(spec.name), spec);
  }

  perCpuMap<K, V>(spec: MapSpec<K, V>): PerCpuMap<K, V> {
    return new PerCpuMap(this.#native, this.mapFd(spec.name), spec);
  }

  outerMap<K, IK, IV>(spec: OuterMapSpec<K, IK, IV>): OuterMap<K, IK, IV> {
    return new OuterMap(this.#native, this.mapFd(spec.name), spec);
  }

  /** A descriptor that the caller closes. */
  mapFd(name: string): number {
    return this.#native.objectMapFd({ object: this.#handle, name });
  }

  /** Programs and maps handed out, pinned or attached live on. */
  close(): void {
    this.#native.objectClose({ object: this.#handle });
  }
}

function patchConstants(native: Native, object: ObjectHandle, path: string, options: LoadOptions): void {
  if (options.expectedLayoutHash !== undefined) {
    const config = native.objectConstant({ object, name: 'config' });
    const found = new DataView(config.buffer, config.byteOffset).getUint32(LAYOUT_HASH_OFFSET, true);
    const expected = options.expectedLayoutHash >>> 0;
    if (found !== expected) {
      const hex = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`;
      throw new AppError(
        'layout-mismatch',
        `${path} was compiled with layout ${hex(found)}, this program knows ${hex(expected)}: ` +
          'build BPF objects and codecs from the same sources',
      );
    }
  }
  for (const [name, bytes] of Object.entries(options.constants ?? {})) {
    native.objectConstant({ object, name, bytes });
  }
}

function selectPrograms(
  native: Native,
  object: ObjectHandle,
  path: string,
  present: readonly string[],
  wanted: readonly string[] | undefined,
): void {
  if (!wanted) return;
  const missing = wanted.filter((name) => !present.includes(name));
  if (missing.length > 0) {
    throw new AppError(
      'bpf-object',
      `${path} has no program ${missing.join(', ')}; it has ${present.join(', ')}`,
    );
  }
  for (const name of present) native.objectSetProgram({ object, name, autoload: wanted.includes(name) });
}

// A kept map keeps its content; one of another shape would make the load fail, so it makes way.
function preparePins(
  native: Native,
  object: ObjectHandle,
  maps: readonly ObjectMap[],
  options: LoadOptions,
): Pinning {
  const pins: Pinning = { kept: [], replaced: [], fresh: [] };
  if (options.pinDirectory !== undefined) mkdirSync(options.pinDirectory, { recursive: true });
  for (const map of maps) {
    const size = options.mapSizes?.[map.name];
    if (size !== undefined) native.objectSetMap({ object, name: map.name, maxEntries: size });
    const shared = options.reuse?.[map.name];
    if (shared) {
      native.objectSetMap({ object, name: map.name, reuseFd: shared.fd });
    } else if (options.pinDirectory !== undefined && (options.pinned?.(map.name) ?? true)) {
      const wanted = size === undefined ? map : { ...map, maxEntries: size };
      preparePin(native, object, wanted, join(options.pinDirectory, map.name), pins);
    }
  }
  return pins;
}

function preparePin(native: Native, object: ObjectHandle, map: ObjectMap, path: string, pins: Pinning): void {
  const reason = existsSync(path) ? incompatibility(native, map, path) : 'absent';
  if (reason === undefined) {
    const fd = native.bpfGet({ path });
    try {
      native.objectSetMap({ object, name: map.name, reuseFd: fd });
    } finally {
      native.fdClose({ fd });
    }
    pins.kept.push(map.name);
    return;
  }
  if (reason !== 'absent') pins.replaced.push({ name: map.name, reason });
  pins.fresh.push({ name: map.name, path });
}

/** Why a pinned map cannot serve, undefined where it can. */
function incompatibility(native: Native, map: ObjectMap, path: string): string | undefined {
  let fd: number;
  try {
    fd = native.bpfGet({ path });
  } catch (error) {
    if (isSystemError(error)) return `cannot be opened: ${error.code}`;
    throw error;
  }
  try {
    const info = native.mapInfo({ fd });
    const differences: string[] = [];
    const compare = (what: string, pinned: number, wanted: number): void => {
      if (pinned !== wanted) differences.push(`${what} ${pinned}, wanted ${wanted}`);
    };
    compare('type', info.type, map.type);
    compare('key size', info.keySize, map.keySize);
    compare('value size', info.valueSize, map.valueSize);
    compare('entries', info.maxEntries, map.maxEntries);
    compare('flags', info.flags & ~MMAPABLE_OR_FROZEN, map.flags & ~MMAPABLE_OR_FROZEN);
    return differences.length > 0 ? differences.join('; ') : undefined;
  } catch {
    return 'is no map';
  } finally {
    native.fdClose({ fd });
  }
}

/** Pins under a temporary name first, so that an old pin is replaced without a moment without one. */
function pinMap(native: Native, object: ObjectHandle, name: string, path: string): void {
  const fd = native.objectMapFd({ object, name });
  const temporary = join(path, '..', `tmp_${process.pid}_${basename(path)}`);
  try {
    rmSync(temporary, { force: true });
    native.bpfPin({ fd, path: temporary });
    renameSync(temporary, path);
  } finally {
    native.fdClose({ fd });
  }
}
