// SPDX-License-Identifier: Apache-2.0
// The two programs of a pod's device. A tcx link waits for a grace period of the kernel, twice ~10 ms under the lock that
// all network changes share; clsact filters do not. So a new pod starts with filters, which links replace once no pod has
// started for a while. While both are there only the links run, so no packet is judged twice and none passes unseen.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage, type Logger } from '@cilium-ts/base';
import { attachTraffic, type Attachment, type BpfProgram } from '@cilium-ts/bpf';
import type { Native, NetnsRef } from '@cilium-ts/native';
import { accepting, addClsact, deleteClsact, Netlink, setFilter } from '@cilium-ts/netlink';

const DIRECTIONS = ['ingress', 'egress'] as const;
const FILTER_PRIORITY = 1;
const QUIET_MS = 1000;

export interface PodHooksOptions {
  readonly native: Native;
  readonly logger: Logger;
  readonly programs: { readonly ingress: BpfProgram; readonly egress: BpfProgram };
  /** Where links are pinned as `<device>_<direction>`. */
  readonly linkDirectory: string;
  readonly method: 'auto' | 'tcx' | 'clsact';
  /** The kernel has tcx and it is not switched off. */
  readonly tcx: boolean;
  /** How long no pod may have started before links are made; default one second. */
  readonly quietMs?: number;
  /** Where the devices are; default the process's own namespace. */
  readonly netns?: NetnsRef;
  /** A method had to be taken that was not the best. */
  readonly onFallback: (reason: string) => void;
}

interface Device {
  readonly name: string;
  readonly ifindex: number;
}

export class PodHooks {
  readonly #options: PodHooksOptions;
  readonly #netlink: Netlink;
  readonly #attachments = new Map<string, Attachment[]>();
  /** Devices with filters that are to get links, oldest first. */
  readonly #waiting = new Map<string, Device>();
  #converting: { readonly name: string; readonly done: Promise<void> } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: PodHooksOptions) {
    this.#options = options;
    this.#netlink = new Netlink(options.native);
  }

  /** Devices whose filters are still to be replaced by links. */
  get pending(): number {
    return this.#waiting.size + (this.#converting ? 1 : 0);
  }

  #pin(name: string, direction: string): string {
    return join(this.#options.linkDirectory, `${name}_${direction}`);
  }

  #removePins(name: string): void {
    for (const direction of DIRECTIONS) rmSync(this.#pin(name, direction), { force: true });
  }

  /** For a new pod: returns when both programs are in place. @throws SystemError, NetlinkError */
  async attach(device: Device): Promise<void> {
    const { method, tcx } = this.#options;
    if (method === 'clsact' || !tcx || !(await this.#attachFilters(device))) {
      await this.#attachBest(device);
      return;
    }
    this.#waiting.set(device.name, device);
    this.#schedule();
  }

  /** Of an earlier run, which may have attached in another way. */
  async restore(device: Device): Promise<void> {
    if ((await this.#attachBest(device)) === 'clsact') return this.#removePins(device.name);
    await this.#removeFilters(device);
  }

  /** Ingress and egress side by side. Returns the method taken. */
  async #attachBest({ name, ifindex }: Device): Promise<string> {
    const { native, netns, programs, method, onFallback } = this.#options;
    const tried = await Promise.allSettled(
      DIRECTIONS.map((direction) => {
        const pinPath = this.#pin(name, direction);
        const program = programs[direction];
        const where = netns === undefined ? {} : { netns };
        return attachTraffic(native, { program, ifindex, direction, method, pinPath, ...where });
      }),
    );
    const made = tried.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    this.#attachments.set(name, made);
    const failed = tried.find((one) => one.status === 'rejected');
    if (failed) throw failed.reason;
    const fallback = made.find((attachment) => attachment.fallback !== undefined)?.fallback;
    if (fallback !== undefined) onFallback(fallback);
    return made[0]!.method;
  }

  /** False where the kernel does not take them. */
  async #attachFilters({ name, ifindex }: Device): Promise<boolean> {
    const { programs, netns, logger } = this.#options;
    this.#removePins(name);
    const filters = DIRECTIONS.map((direction) => {
      const { fd, name: program } = programs[direction];
      return setFilter({
        link: ifindex,
        direction,
        programFd: fd,
        name: program,
        priority: FILTER_PRIORITY,
      });
    });
    try {
      await this.#netlink.run([addClsact(ifindex), ...filters], netns);
      return true;
    } catch (error) {
      logger.debug({ device: name, error: errorMessage(error) }, 'no filters, links are made at once');
      return false;
    }
  }

  async #removeFilters({ ifindex }: Device): Promise<void> {
    const gone = accepting(deleteClsact(ifindex), 'ENOENT', 'EINVAL', 'ENODEV');
    await this.#netlink.run(gone, this.#options.netns);
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#stopped) return;
    const elapsed = (): void => {
      this.#timer = undefined;
      this.#next();
    };
    this.#timer = setTimeout(elapsed, this.#options.quietMs ?? QUIET_MS);
    this.#timer.unref();
  }

  #next(): void {
    const [device] = this.#waiting.values();
    if (!device || this.#converting || this.#stopped) return;
    this.#waiting.delete(device.name);
    const done = this.#convert(device).finally(() => {
      this.#converting = undefined;
      // A pod that started meanwhile has set the timer: its quiet time goes first.
      if (this.#timer === undefined) this.#next();
    });
    this.#converting = { name: device.name, done };
  }

  async #convert(device: Device): Promise<void> {
    try {
      if ((await this.#attachBest(device)) !== 'clsact') await this.#removeFilters(device);
    } catch (error) {
      // The filters stay and go on judging.
      this.#options.logger.warn(
        { device: device.name, error: errorMessage(error) },
        'no links in place of filters',
      );
    }
  }

  /** The device may be gone already. */
  async detach(name: string): Promise<void> {
    this.#waiting.delete(name);
    if (this.#converting?.name === name) await this.#converting.done;
    for (const attachment of this.#attachments.get(name) ?? []) attachment.close();
    this.#attachments.delete(name);
    this.#removePins(name);
  }

  /** What is attached stays attached. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#converting?.done;
  }
}
