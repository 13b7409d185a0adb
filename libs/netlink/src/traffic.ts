// SPDX-License-Identifier: Apache-2.0
// clsact and cls_bpf in direct-action mode: how programs attached before tcx.
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Attributes, Writer } from './wire.ts';
import type { LinkRef, Request } from './request.ts';

const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
export const RTM_GETTFILTER = 46;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_BPF_FD = 6;
const TCA_BPF_NAME = 7;
const TCA_BPF_FLAGS = 8;
const TCA_BPF_ID = 11;
const DIRECT_ACTION = 1;
const CLSACT_PARENT = 0xfffffff1;
const CLSACT_HANDLE = 0xffff0000;
const PARENTS = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const;
const ETH_P_ALL_BE = 0x0300;

export type TrafficDirection = keyof typeof PARENTS;

function trafficHeader(index: number, handle: number, parent: number, info: number): Writer {
  return new Writer().u8(0).u8(0).u16(0).u32(index).u32(handle).u32(parent).u32(info);
}

/** The clsact qdisc; there already is as good. */
export function addClsact(link: LinkRef): Request {
  return {
    what: `add clsact to ${link}`,
    type: RTM_NEWQDISC,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    accept: ['EEXIST'],
    body: (resolve) =>
      trafficHeader(resolve(link), CLSACT_HANDLE, CLSACT_PARENT, 0).attributeText(TCA_KIND, 'clsact').bytes(),
  };
}

/** Removes clsact and every filter on it. */
export function deleteClsact(link: LinkRef): Request {
  return {
    what: `delete clsact of ${link}`,
    type: RTM_DELQDISC,
    flags: 0,
    accept: [],
    body: (resolve) => trafficHeader(resolve(link), CLSACT_HANDLE, CLSACT_PARENT, 0).bytes(),
  };
}

export interface FilterOptions {
  readonly link: LinkRef;
  readonly direction: TrafficDirection;
  readonly programFd: number;
  readonly name: string;
  /** 1 runs first. */
  readonly priority: number;
  readonly handle?: number;
}

/** Attaches a program, or swaps the one at the same priority and handle without a gap. */
export function setFilter(options: FilterOptions): Request {
  return {
    what: `attach ${options.name} to ${options.direction} of ${options.link}`,
    type: RTM_NEWTFILTER,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    accept: [],
    body: (resolve) =>
      trafficHeader(
        resolve(options.link),
        options.handle ?? 1,
        PARENTS[options.direction],
        options.priority * 0x10000 + ETH_P_ALL_BE,
      )
        .attributeText(TCA_KIND, 'bpf')
        .nested(TCA_OPTIONS, (list) =>
          list
            .attributeU32(TCA_BPF_FD, options.programFd)
            .attributeText(TCA_BPF_NAME, options.name)
            .attributeU32(TCA_BPF_FLAGS, DIRECT_ACTION),
        )
        .bytes(),
  };
}

export function deleteFilter(
  link: LinkRef,
  direction: TrafficDirection,
  priority: number,
  handle = 1,
): Request {
  return {
    what: `detach filter ${priority} from ${direction} of ${link}`,
    type: RTM_DELTFILTER,
    flags: 0,
    accept: [],
    body: (resolve) =>
      trafficHeader(resolve(link), handle, PARENTS[direction], priority * 0x10000 + ETH_P_ALL_BE)
        .attributeText(TCA_KIND, 'bpf')
        .bytes(),
  };
}

export interface Filter {
  readonly priority: number;
  readonly handle: number;
  readonly name: string | undefined;
  readonly programId: number | undefined;
}

export function filterQuery(link: number, direction: TrafficDirection): Uint8Array {
  return trafficHeader(link, 0, PARENTS[direction], 0).bytes();
}

export function decodeFilter(body: Uint8Array): Filter | undefined {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const list = new Attributes(body.subarray(20));
  const handle = view.getUint32(8, true);
  if (list.text(TCA_KIND) !== 'bpf' || handle === 0) return undefined;
  const options = list.nested(TCA_OPTIONS);
  return {
    priority: view.getUint32(16, true) >>> 16,
    handle,
    name: options.text(TCA_BPF_NAME),
    programId: options.u32(TCA_BPF_ID),
  };
}
