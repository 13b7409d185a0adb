// SPDX-License-Identifier: Apache-2.0
import { existsSync, renameSync, rmSync } from 'node:fs';
import { AppError } from '@cilium-ts/base';
import { isSystemError, type Fd, type Native, type NetnsRef } from '@cilium-ts/native';
import {
  addClsact,
  deleteFilter,
  isErrno,
  Netlink,
  setFilter,
  type TrafficDirection,
} from '@cilium-ts/netlink';
import { AttachType } from './codec.ts';
import type { BpfProgram } from './program.ts';

export type AttachMethod = 'tcx' | 'clsact' | 'xdp-native' | 'xdp-generic' | 'cgroup';

/** A program attached somewhere. */
export interface Attachment {
  readonly method: AttachMethod;
  /** Why the better method was not taken. */
  readonly fallback: string | undefined;
  /** Puts another program in its place; no packet passes unseen. */
  update(program: BpfProgram): Promise<void>;
  /** Takes the program off and removes the pin. */
  detach(): Promise<void>;
  /** Forgets it. A pinned link and a clsact filter stay attached; an unpinned link goes. */
  close(): void;
}

interface DeviceOptions {
  readonly program: BpfProgram;
  readonly ifindex: number;
  readonly netns?: NetnsRef;
  /** In a bpffs. A link found there on the same device is updated instead of a new one made. */
  readonly pinPath?: string;
}

export interface TrafficOptions extends DeviceOptions {
  readonly direction: TrafficDirection;
  /** Default `auto`: tcx, or clsact where the kernel has no tcx. */
  readonly method?: 'auto' | 'tcx' | 'clsact';
}

export interface XdpOptions extends DeviceOptions {
  /** Default `auto`: the driver's own hook, or the generic one. */
  readonly method?: 'auto' | 'native' | 'generic';
}

export interface CgroupOptions {
  readonly program: BpfProgram;
  /** Directory in a cgroup v2 hierarchy. */
  readonly path: string;
  /** AttachType.cgroup* */
  readonly attachType: number;
  readonly pinPath?: string;
}

const XDP_FLAGS_SKB_MODE = 2;
const XDP_FLAGS_DRV_MODE = 4;
const FILTER_PRIORITY = 1;

class LinkAttachment implements Attachment {
  readonly method: AttachMethod;
  readonly fallback: string | undefined;
  readonly #native: Native;
  readonly #fd: Fd;
  readonly #pinPath: string | undefined;

  constructor(native: Native, fd: Fd, method: AttachMethod, pinPath: string | undefined, fallback?: string) {
    this.#native = native;
    this.#fd = fd;
    this.method = method;
    this.#pinPath = pinPath;
    this.fallback = fallback;
  }

  async update(program: BpfProgram): Promise<void> {
    await this.#native.linkUpdateAsync({ link: this.#fd, program: program.fd });
  }

  async detach(): Promise<void> {
    try {
      await this.#native.linkDetachAsync({ link: this.#fd });
    } catch (error) {
      // The device may have gone, and the attachment with it.
      if (!isSystemError(error, 'ENOLINK', 'EINVAL')) throw error;
    }
    if (this.#pinPath !== undefined) rmSync(this.#pinPath, { force: true });
    this.close();
  }

  close(): void {
    this.#native.fdClose({ fd: this.#fd });
  }
}

class FilterAttachment implements Attachment {
  readonly method = 'clsact';
  readonly fallback: string | undefined;
  readonly #netlink: Netlink;
  readonly #options: TrafficOptions;

  constructor(native: Native, options: TrafficOptions, fallback: string | undefined) {
    this.#netlink = new Netlink(native);
    this.#options = options;
    this.fallback = fallback;
  }

  async update(program: BpfProgram): Promise<void> {
    const { ifindex, direction, netns } = this.#options;
    await this.#netlink.run(
      [
        addClsact(ifindex),
        setFilter({
          link: ifindex,
          direction,
          programFd: program.fd,
          name: program.name,
          priority: FILTER_PRIORITY,
        }),
      ],
      netns,
    );
  }

  async detach(): Promise<void> {
    const { ifindex, direction, netns } = this.#options;
    try {
      await this.#netlink.run(deleteFilter(ifindex, direction, FILTER_PRIORITY), netns);
    } catch (error) {
      // No device, no clsact or no filter: nothing is attached.
      if (!isErrno(error, 'ENODEV', 'ENOENT', 'EINVAL')) throw error;
    }
  }

  close(): void {
    // A filter belongs to its device, not to a descriptor.
  }
}

/** The link pinned at `path` if it still sits where it should. Another one there is removed. */
function pinnedLink(native: Native, path: string | undefined, fits: (fd: Fd) => boolean): Fd | undefined {
  if (path === undefined || !existsSync(path)) return undefined;
  const fd = native.bpfGet({ path });
  try {
    if (fits(fd)) return fd;
  } catch (error) {
    if (!isSystemError(error)) throw error;
  }
  native.fdClose({ fd });
  rmSync(path, { force: true });
  return undefined;
}

function pinLink(native: Native, fd: Fd, path: string | undefined): void {
  if (path === undefined) return;
  const temporary = `${path}_tmp${process.pid}`;
  try {
    native.bpfPin({ fd, path: temporary });
    renameSync(temporary, path);
  } catch (error) {
    native.fdClose({ fd });
    rmSync(temporary, { force: true });
    throw error;
  }
}

function inNetns(netns: NetnsRef | undefined): { netns?: NetnsRef } {
  return netns === undefined ? {} : { netns };
}

/** Attaches to the ingress or egress of a device. @throws SystemError, NetlinkError */
export async function attachTraffic(native: Native, options: TrafficOptions): Promise<Attachment> {
  const { program, ifindex, direction, pinPath, method = 'auto' } = options;
  const attachType = direction === 'ingress' ? AttachType.tcxIngress : AttachType.tcxEgress;
  let fallback: string | undefined;
  if (method !== 'clsact') {
    const old = pinnedLink(native, pinPath, (fd) => {
      const info = native.linkInfo({ link: fd });
      return info.ifindex === ifindex && info.attachType === attachType;
    });
    if (old !== undefined) {
      const attachment = new LinkAttachment(native, old, 'tcx', pinPath);
      await attachment.update(program);
      return attachment;
    }
    try {
      const fd = await native.linkCreateAsync({
        program: program.fd,
        attachType,
        target: ifindex,
        ...inNetns(options.netns),
      });
      pinLink(native, fd, pinPath);
      return new LinkAttachment(native, fd, 'tcx', pinPath);
    } catch (error) {
      // Kernels before 6.6 do not know the attach type.
      if (method === 'tcx' || !isSystemError(error, 'EINVAL')) throw error;
      fallback = `no tcx: ${error.message}`;
    }
  }
  const attachment = new FilterAttachment(native, options, fallback);
  await attachment.update(program);
  return attachment;
}

/** Attaches to the XDP hook of a device; frames-in-fragments devices need an `xdp.frags` program. @throws SystemError */
export async function attachXdp(native: Native, options: XdpOptions): Promise<Attachment> {
  const { program, ifindex, pinPath, method = 'auto' } = options;
  const old = pinnedLink(native, pinPath, (fd) => native.linkInfo({ link: fd }).ifindex === ifindex);
  if (old !== undefined && method === 'auto') {
    const attachment = new LinkAttachment(native, old, 'xdp-native', pinPath);
    await attachment.update(program);
    return attachment;
  }
  // The mode of a link cannot be changed or read: a forced one is made anew.
  if (old !== undefined) await new LinkAttachment(native, old, 'xdp-native', pinPath).detach();
  let fallback: string | undefined;
  const create = (flags: number): Promise<Fd> =>
    native.linkCreateAsync({
      program: program.fd,
      attachType: AttachType.xdp,
      target: ifindex,
      flags,
      ...inNetns(options.netns),
    });
  if (method !== 'generic') {
    try {
      const fd = await create(XDP_FLAGS_DRV_MODE);
      pinLink(native, fd, pinPath);
      return new LinkAttachment(native, fd, 'xdp-native', pinPath);
    } catch (error) {
      if (method === 'native' || !isSystemError(error, 'EOPNOTSUPP', 'ERANGE', 'EINVAL', 'ENOMEM'))
        throw error;
      fallback = `no native XDP: ${error.message}`;
    }
  }
  const fd = await create(XDP_FLAGS_SKB_MODE);
  pinLink(native, fd, pinPath);
  return new LinkAttachment(native, fd, 'xdp-generic', pinPath, fallback);
}

/** Attaches to a cgroup and all below it, beside programs of others. @throws SystemError, AppError `not-a-cgroup` */
export async function attachCgroup(native: Native, options: CgroupOptions): Promise<Attachment> {
  const { program, path, attachType, pinPath } = options;
  const cgroup2Magic = 0x63677270;
  if (native.filesystemMagic({ path }) !== cgroup2Magic) {
    throw new AppError('not-a-cgroup', `${path} is not in a cgroup v2 hierarchy`);
  }
  const id = Number(native.cgroupId({ path }));
  const old = pinnedLink(native, pinPath, (fd) => {
    const info = native.linkInfo({ link: fd });
    return info.cgroupId === id && info.attachType === attachType;
  });
  if (old !== undefined) {
    const attachment = new LinkAttachment(native, old, 'cgroup', pinPath);
    await attachment.update(program);
    return attachment;
  }
  const target = native.fdOpen({ path });
  try {
    const fd = await native.linkCreateAsync({ program: program.fd, attachType, target });
    pinLink(native, fd, pinPath);
    return new LinkAttachment(native, fd, 'cgroup', pinPath);
  } finally {
    native.fdClose({ fd: target });
  }
}
