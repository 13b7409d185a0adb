// SPDX-License-Identifier: Apache-2.0
import { formatMac, parseMac } from '@cilium-ts/net';
import { AF_UNSPEC, type LinkRef, type Request } from './request.ts';
import { Attributes, NLM_F_CREATE, NLM_F_EXCL, Writer } from './wire.ts';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_OPERSTATE = 16;
const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_STATS64 = 23;
const IFLA_NET_NS_FD = 28;
const IFLA_LINK_NETNSID = 37;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const IFF_UP = 1;

export interface LinkSettings {
  readonly name?: string;
  readonly up?: boolean;
  readonly mtu?: number;
  /** `aa:bb:cc:dd:ee:ff` */
  readonly mac?: string;
  /** Descriptor of the namespace to be in. */
  readonly netnsFd?: number;
  /** Wanted device number. */
  readonly index?: number;
}

export interface LinkStats {
  readonly rxPackets: number;
  readonly txPackets: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly rxErrors: number;
  readonly txErrors: number;
  readonly rxDropped: number;
  readonly txDropped: number;
}

export interface Link {
  readonly index: number;
  readonly name: string;
  /** Of the link type: `veth`, `bridge`; empty for plain devices. */
  readonly kind: string;
  readonly up: boolean;
  /** Up and with a carrier. */
  readonly running: boolean;
  readonly loopback: boolean;
  readonly mtu: number;
  readonly mac: string;
  readonly master: number | undefined;
  /** Device number of the veth's other end, in its own namespace. */
  readonly peerIndex: number | undefined;
  /** The other end is in another namespace. */
  readonly peerElsewhere: boolean;
  readonly alias: string | undefined;
  readonly stats: LinkStats | undefined;
}

function header(writer: Writer, settings: LinkSettings, index: number): void {
  const up = settings.up;
  writer.u8(AF_UNSPEC).u8(0).u16(0).u32(index);
  writer.u32(up ? IFF_UP : 0).u32(up === undefined ? 0 : IFF_UP);
}

function attributes(writer: Writer, settings: LinkSettings): void {
  if (settings.name !== undefined) writer.attributeText(IFLA_IFNAME, settings.name);
  if (settings.mtu !== undefined) writer.attributeU32(IFLA_MTU, settings.mtu);
  if (settings.mac !== undefined) writer.attribute(IFLA_ADDRESS, parseMac(settings.mac));
  if (settings.netnsFd !== undefined) writer.attributeU32(IFLA_NET_NS_FD, settings.netnsFd);
}

/**
 * A veth pair; the peer may be born in another namespace (`peer.netnsFd`). The kernel refuses a peer that is up from
 * birth (ENOTCONN): raise it afterwards, in its own namespace.
 */
export function createVeth(
  link: LinkSettings & { name: string },
  peer: Omit<LinkSettings, 'up'> & { name: string },
): Request {
  return {
    what: `create veth ${link.name} with peer ${peer.name}`,
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    accept: [],
    body: () => {
      const writer = new Writer();
      header(writer, link, link.index ?? 0);
      attributes(writer, link);
      writer.nested(IFLA_LINKINFO, (info) =>
        info.attributeText(IFLA_INFO_KIND, 'veth').nested(IFLA_INFO_DATA, (data) =>
          data.nested(VETH_INFO_PEER, (other) => {
            header(other, peer, peer.index ?? 0);
            attributes(other, peer);
          }),
        ),
      );
      return writer.bytes();
    },
  };
}

/** A device that needs nothing but a kind: `bridge`, `ifb`, `dummy`. */
export function createLink(kind: string, link: LinkSettings & { name: string }): Request {
  return {
    what: `create ${kind} ${link.name}`,
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    accept: [],
    body: () => {
      const writer = new Writer();
      header(writer, link, link.index ?? 0);
      attributes(writer, link);
      writer.nested(IFLA_LINKINFO, (info) => info.attributeText(IFLA_INFO_KIND, kind));
      return writer.bytes();
    },
  };
}

export function createBridge(link: LinkSettings & { name: string }): Request {
  return createLink('bridge', link);
}

export interface LinkChange extends LinkSettings {
  /** Bridge to join, null to leave it. */
  readonly master?: LinkRef | null;
  readonly alias?: string;
}

/** Changes a device: `name` renames it, `netnsFd` moves it. */
export function setLink(link: LinkRef, change: LinkChange): Request {
  return {
    what: `set link ${link} ${Object.keys(change).join(', ')}`,
    type: RTM_NEWLINK,
    flags: 0,
    accept: [],
    body: (resolve) => {
      const writer = new Writer();
      header(writer, change, resolve(link));
      attributes(writer, change);
      if (change.master !== undefined) {
        writer.attributeU32(IFLA_MASTER, change.master === null ? 0 : resolve(change.master));
      }
      if (change.alias !== undefined) writer.attributeText(IFLA_IFALIAS, change.alias);
      return writer.bytes();
    },
  };
}

/** Deletes a device (of a veth pair: both ends). */
export function deleteLink(link: LinkRef): Request {
  return {
    what: `delete link ${link}`,
    type: RTM_DELLINK,
    flags: 0,
    accept: [],
    body: (resolve) => {
      const writer = new Writer();
      header(writer, {}, resolve(link));
      return writer.bytes();
    },
  };
}

export function linkQuery(): Uint8Array {
  const writer = new Writer();
  header(writer, {}, 0);
  return writer.bytes();
}

function stats(bytes: Uint8Array | undefined): LinkStats | undefined {
  if (!bytes || bytes.length < 64) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = (i: number): number => Number(view.getBigUint64(8 * i, true));
  return {
    rxPackets: at(0),
    txPackets: at(1),
    rxBytes: at(2),
    txBytes: at(3),
    rxErrors: at(4),
    txErrors: at(5),
    rxDropped: at(6),
    txDropped: at(7),
  };
}

export function decodeLink(body: Uint8Array): Link {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const flags = view.getUint32(8, true);
  const list = new Attributes(body.subarray(16));
  const up = (flags & IFF_UP) !== 0;
  return {
    index: view.getInt32(4, true),
    name: list.text(IFLA_IFNAME) ?? '',
    kind: list.nested(IFLA_LINKINFO).text(IFLA_INFO_KIND) ?? '',
    up,
    running: up && (flags & 0x40) !== 0 && list.bytes(IFLA_OPERSTATE)?.[0] !== 2,
    loopback: (flags & 8) !== 0,
    mtu: list.u32(IFLA_MTU) ?? 0,
    mac: formatMac(list.bytes(IFLA_ADDRESS) ?? new Uint8Array(6)),
    master: list.u32(IFLA_MASTER),
    peerIndex: list.u32(IFLA_LINK),
    peerElsewhere: list.bytes(IFLA_LINK_NETNSID) !== undefined,
    alias: list.text(IFLA_IFALIAS),
    stats: stats(list.bytes(IFLA_STATS64)),
  };
}
