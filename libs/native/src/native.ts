// SPDX-License-Identifier: Apache-2.0

/** A file descriptor; whoever receives one closes it with `fdClose`. */
export type Fd = number;

/** A network namespace: path of its file, or an open descriptor. Absent: the process's own. */
export type NetnsRef = string | Fd;

declare const objectBrand: unique symbol;
declare const ringBrand: unique symbol;
export type ObjectHandle = { readonly [objectBrand]: true };
export type RingHandle = { readonly [ringBrand]: true };

export interface ObjectMap {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** .rodata, .data and .bss. */
  readonly internal: boolean;
}

export interface ObjectProgram {
  readonly name: string;
  readonly section: string;
  readonly type: number;
  readonly expectedAttachType: number;
}

export interface ObjectDescription {
  readonly maps: readonly ObjectMap[];
  readonly programs: readonly ObjectProgram[];
}

export interface MapInfo {
  readonly id: number;
  /** At most 15 characters: the kernel cuts longer names. */
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  /** Bytes of a value in system calls: per-CPU maps carry one value, rounded up to 8, per possible CPU. */
  readonly storedSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

export interface MapPage {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
  /** Where the next page begins; absent after the last one. */
  readonly cursor?: Uint8Array;
}

export interface ProgramInfo {
  readonly id: number;
  readonly name: string;
  readonly type: number;
  readonly tag: string;
  readonly translatedSize: number;
  readonly jitedSize: number;
  /** Counted only while kernel.bpf_stats_enabled is set. */
  readonly runCount: number;
  /** Nanoseconds. */
  readonly runTime: number;
}

export interface LinkInfo {
  readonly id: number;
  readonly type: number;
  readonly programId: number;
  /** 0 once the device is gone. */
  readonly ifindex?: number;
  readonly attachType?: number;
  readonly cgroupId?: number;
}

export interface TestRunOptions {
  readonly fd: Fd;
  readonly data?: Uint8Array;
  /** struct __sk_buff or struct xdp_md. */
  readonly ctx?: Uint8Array;
  readonly repeat?: number;
  readonly flags?: number;
  /** Room for the packet afterwards; 512 bytes more than `data` unless told. */
  readonly outSize?: number;
}

export interface TestRunResult {
  readonly retval: number;
  /** Nanoseconds of one run, mean over `repeat`. */
  readonly duration: number;
  readonly data: Uint8Array;
  readonly ctx: Uint8Array;
}

export interface RingStats {
  readonly records: number;
  /** Payload bytes. */
  readonly bytes: number;
  readonly chunks: number;
  /** Times the reader paused because JavaScript had too many chunks waiting. */
  readonly stalls: number;
  /** Bytes written and not yet read. */
  readonly pending: number;
}

export type SocketKind = 'tcp-listen' | 'tcp-connect' | 'udp-bind' | 'udp-connect';

export interface SocketOptions {
  readonly kind: SocketKind;
  /** IPv4 or IPv6 text. */
  readonly address: string;
  readonly port: number;
  readonly netns?: NetnsRef;
  readonly backlog?: number;
  readonly timeoutMs?: number;
  readonly transparent?: boolean;
}

interface InNetns {
  readonly netns?: NetnsRef;
}

interface BatchOptions {
  readonly fd: Fd;
  readonly keys: Uint8Array;
  readonly count: number;
  readonly flags?: number;
}

interface Calls {
  /** Opens an ELF file; nothing is created in the kernel yet. */
  objectOpen(options: { readonly path: string }): ObjectHandle;
  /** Creates maps, relocates and verifies; the error of a refused program carries the end of the verifier's log. */
  objectLoad(options: { readonly object: ObjectHandle }): void;
  mapCreate(options: {
    readonly type: number;
    readonly name: string;
    readonly keySize: number;
    readonly valueSize: number;
    readonly maxEntries: number;
    readonly flags?: number;
    /** Prototype of a map of maps. */
    readonly innerFd?: Fd;
  }): Fd;
  /** Elements written. On error the elements before the one named in the message are written. */
  mapUpdateBatch(options: BatchOptions & { readonly values: Uint8Array }): number;
  /** Elements deleted; keys that are not there are skipped. */
  mapDeleteBatch(options: BatchOptions): number;
  mapLookupBatch(options: { readonly fd: Fd; readonly count: number; readonly cursor?: Uint8Array }): MapPage;
  programTestRun(options: TestRunOptions): TestRunResult;
  /** Loads raw instructions (8 bytes each). */
  programLoad(options: {
    readonly type: number;
    readonly name: string;
    readonly insns: Uint8Array;
    readonly expectedAttachType?: number;
  }): Fd;
  /** `target`: ifindex in `netns`, or a cgroup descriptor. */
  linkCreate(
    options: {
      readonly program: Fd;
      readonly attachType: number;
      readonly target: number;
      readonly flags?: number;
    } & InNetns,
  ): Fd;
  linkUpdate(options: { readonly link: Fd; readonly program: Fd }): void;
  linkDetach(options: { readonly link: Fd }): void;
  /** Messages each with NLM_F_ACK or NLM_F_DUMP and a sequence number; returns all answers in order. */
  netlinkExchange(
    options: {
      readonly messages: Uint8Array;
      readonly protocol?: number;
      readonly timeoutMs?: number;
    } & InNetns,
  ): Uint8Array;
  /** New namespace bound to a new file, loopback up. */
  netnsCreate(options: { readonly path: string }): void;
  netnsDelete(options: { readonly path: string }): void;
  /** 0 where there is no such device. */
  interfaceIndex(options: { readonly name: string } & InNetns): number;
  /** First 4 KiB; for /proc/sys/net, which shows the namespace of the opening thread. */
  readFile(options: { readonly path: string } & InNetns): string;
  writeFile(options: { readonly path: string; readonly text: string } & InNetns): void;
  /** A non-blocking socket made in `netns`. */
  socketOpen(options: SocketOptions): Fd;
  mount(options: {
    readonly source: string;
    readonly target: string;
    readonly type?: string;
    readonly flags?: number;
    readonly data?: string;
  }): void;
  umount(options: { readonly target: string; readonly flags?: number }): void;
}

/** Every call also on a worker thread: same argument, a promise of the same result. */
type AsyncCalls = {
  [K in keyof Calls as `${K}Async`]: (options: Parameters<Calls[K]>[0]) => Promise<ReturnType<Calls[K]>>;
};

/** The add-on's functions. All throw (or reject with) SystemError; wrong arguments are a TypeError naming the property. */
export interface Native extends Calls, AsyncCalls {
  objectDescribe(options: { readonly object: ObjectHandle }): ObjectDescription;
  /** Bytes of a constant of .rodata; with `bytes` it is overwritten first (only before load). */
  objectConstant(options: {
    readonly object: ObjectHandle;
    readonly name: string;
    readonly bytes?: Uint8Array;
  }): Uint8Array;
  objectSetMap(options: {
    readonly object: ObjectHandle;
    readonly name: string;
    readonly maxEntries?: number;
    readonly reuseFd?: Fd;
  }): void;
  objectSetProgram(options: {
    readonly object: ObjectHandle;
    readonly name: string;
    readonly autoload?: boolean;
    readonly type?: number;
    readonly expectedAttachType?: number;
  }): void;
  /** A descriptor of its own: outlives the object. */
  objectMapFd(options: { readonly object: ObjectHandle; readonly name: string }): Fd;
  objectProgramFd(options: { readonly object: ObjectHandle; readonly name: string }): Fd;
  objectClose(options: { readonly object: ObjectHandle }): void;

  // Hot calls with positional arguments. Buffers must have the map's key and stored value size: BpfMap sees to it.
  mapLookup(fd: Fd, key: Uint8Array, value: Uint8Array): boolean;
  mapUpdate(fd: Fd, key: Uint8Array, value: Uint8Array, flags: number): void;
  mapDelete(fd: Fd, key: Uint8Array): boolean;
  mapNextKey(fd: Fd, key: Uint8Array | null, next: Uint8Array): boolean;

  mapInfo(options: { readonly fd: Fd }): MapInfo;
  /** The memory of a BPF_F_MMAPABLE array itself; unmapped when the buffer is collected. */
  mapMmap(options: { readonly fd: Fd; readonly length: number }): ArrayBuffer;
  mapOpenId(options: { readonly id: number }): Fd;
  possibleCpus(): number;
  programInfo(options: { readonly fd: Fd }): ProgramInfo;
  linkInfo(options: { readonly link: Fd }): LinkInfo;
  bpfPin(options: { readonly fd: Fd; readonly path: string }): void;
  bpfGet(options: { readonly path: string }): Fd;

  /**
   * Reads a ring buffer on a thread. A chunk (at most 256 KiB unless one record is longer) holds `records` records, each
   * u32 length, u32 zero, `length` bytes, padding to a multiple of 8. Does not keep the process alive.
   */
  ringOpen(fd: Fd, onChunk: (chunk: ArrayBuffer, records: number) => void): RingHandle;
  ringStats(ring: RingHandle): RingStats;
  /** Drains once more and joins the thread; chunks on their way still arrive. */
  ringStop(ring: RingHandle): void;

  /** Gives memory of freed C blocks back to the kernel; whether there was any. */
  memoryTrim(options: Readonly<Record<string, never>>): boolean;
  memoryTrimAsync(options: Readonly<Record<string, never>>): Promise<boolean>;
  /** statfs f_type. */
  filesystemMagic(options: { readonly path: string }): number;
  cgroupId(options: { readonly path: string }): bigint;
  fdOpen(options: { readonly path: string }): Fd;
  fdClose(options: { readonly fd: Fd }): void;
  fdDuplicate(options: { readonly fd: Fd }): Fd;
  /** `pid` 0 = the calling thread. Without `cpu` it may run on every CPU again. */
  setAffinity(options: { readonly pid: number; readonly cpu?: number }): void;
}
