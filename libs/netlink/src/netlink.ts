// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:os';
import { isSystemError, type Native, type NetnsRef } from '@cilium-ts/native';
import { addressQuery, decodeAddress, RTM_GETADDR, RTM_NEWADDR, type Address } from './addresses.ts';
import { decodeLink, linkQuery, RTM_GETLINK, RTM_NEWLINK, type Link } from './links.ts';
import { decodeNeighbour, neighbourQuery, RTM_GETNEIGH, RTM_NEWNEIGH, type Neighbour } from './neighbours.ts';
import type { LinkRef, Request } from './request.ts';
import { decodeRoute, decodeRule, routeQuery } from './routes.ts';
import { RTM_GETROUTE, RTM_GETRULE, RTM_NEWROUTE, RTM_NEWRULE, type Route, type Rule } from './routes.ts';
import { decodeFilter, filterQuery, RTM_GETTFILTER, type Filter, type TrafficDirection } from './traffic.ts';
import * as wire from './wire.ts';

const ERRNO_NAMES = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));

/** A request that the kernel refused. `code` is the errno's name, `what` the request in words. */
export class NetlinkError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly what: string;
  /** Refusals of later requests of the same call. */
  others: readonly NetlinkError[] = [];

  constructor(what: string, errno: number, reason: string | undefined, netns: NetnsRef | undefined) {
    const code = ERRNO_NAMES.get(errno) ?? `errno ${errno}`;
    const where = netns === undefined ? '' : ` in ${netns}`;
    super(`${what}${where}: ${code}${reason === undefined ? '' : ` (${reason})`}`);
    this.name = 'NetlinkError';
    this.code = code;
    this.errno = errno;
    this.what = what;
  }

  with(others: readonly NetlinkError[]): this {
    this.others = others;
    this.message += ` (and ${others.length} more: ${others[0]?.message ?? ''})`;
    return this;
  }
}

const ENODEV = constants.errno.ENODEV;
const DUMP_ATTEMPTS = 5;

interface Batch {
  readonly messages: Uint8Array[];
  readonly requests: number[];
}

/** rtnetlink: changes as lists of requests, state as dumps; each call in the process's namespace or in `netns`. */
export class Netlink {
  readonly #native: Native;

  constructor(native: Native) {
    this.#native = native;
  }

  /**
   * Carries out the requests in order, in as few exchanges as can be. A device made by an earlier request may be named
   * by a later one. All requests are tried.
   * @throws NetlinkError of the first refused request, the rest in its `others`
   */
  async run(requests: Request | readonly Request[], netns?: NetnsRef): Promise<void> {
    const list = Array.isArray(requests) ? (requests as readonly Request[]) : [requests as Request];
    const [first, ...others] = (await this.attempt(list, netns)).filter((error) => error !== undefined);
    if (first) throw others.length > 0 ? first.with(others) : first;
  }

  /** Like run, but returns what became of each request. Throws only where the exchange itself fails. */
  async attempt(requests: readonly Request[], netns?: NetnsRef): Promise<(NetlinkError | undefined)[]> {
    const results = new Array<NetlinkError | undefined>(requests.length).fill(undefined);
    const known = new Map<string, number>();
    let batch: Batch = { messages: [], requests: [] };
    for (const [i, request] of requests.entries()) {
      let body = await this.#encode(request, known, netns);
      if (!(body instanceof Uint8Array) && batch.messages.length > 0) {
        // The device may come into being by a request before this one.
        await this.#exchange(batch, requests, results, netns);
        batch = { messages: [], requests: [] };
        body = await this.#encode(request, known, netns);
      }
      if (!(body instanceof Uint8Array)) {
        if (!request.accept.includes('ENODEV')) {
          results[i] = new NetlinkError(request.what, ENODEV, `no device ${body.missing}`, netns);
        }
        continue;
      }
      const flags = request.flags | wire.NLM_F_REQUEST | wire.NLM_F_ACK;
      batch.messages.push(wire.encodeMessage(request.type, flags, i + 1, body));
      batch.requests.push(i);
    }
    if (batch.messages.length > 0) await this.#exchange(batch, requests, results, netns);
    return results;
  }

  async #encode(
    request: Request,
    known: Map<string, number>,
    netns: NetnsRef | undefined,
  ): Promise<Uint8Array | { missing: string }> {
    for (;;) {
      let missing: string | undefined;
      const body = request.body((link: LinkRef) => {
        if (typeof link === 'number') return link;
        const index = known.get(link);
        if (index === undefined) missing ??= link;
        return index ?? 0;
      });
      if (missing === undefined) return body;
      const index = await this.linkIndex(missing, netns);
      if (index === undefined) return { missing };
      known.set(missing, index);
    }
  }

  async #exchange(
    batch: Batch,
    requests: readonly Request[],
    results: (NetlinkError | undefined)[],
    netns: NetnsRef | undefined,
  ): Promise<void> {
    const reply = await this.#send(Buffer.concat(batch.messages), netns);
    for (const message of wire.decodeMessages(reply)) {
      if (message.type !== wire.NLMSG_ERROR) continue;
      const { errno, reason } = wire.decodeError(message);
      const request = requests[message.sequence - 1];
      if (!request || errno === 0) continue;
      const error = new NetlinkError(request.what, errno, reason, netns);
      if (!request.accept.includes(error.code)) results[message.sequence - 1] = error;
    }
  }

  #send(messages: Uint8Array, netns: NetnsRef | undefined): Promise<Uint8Array> {
    return this.#native.netlinkExchangeAsync({ messages, ...(netns === undefined ? {} : { netns }) });
  }

  // A table that changed while it was read is read again: the kernel marks such a dump as interrupted.
  async #dump(
    what: string,
    query: number,
    answer: number,
    body: Uint8Array,
    netns?: NetnsRef,
  ): Promise<Uint8Array[]> {
    const flags = wire.NLM_F_REQUEST | wire.NLM_F_DUMP;
    for (let attempt = 1; ; attempt++) {
      const messages = wire.decodeMessages(
        await this.#send(wire.encodeMessage(query, flags, 1, body), netns),
      );
      const bodies: Uint8Array[] = [];
      let interrupted = false;
      for (const message of messages) {
        interrupted ||= (message.flags & wire.NLM_F_DUMP_INTR) !== 0;
        if (message.type === answer) bodies.push(message.body);
        if (message.type !== wire.NLMSG_ERROR && message.type !== wire.NLMSG_DONE) continue;
        const { errno, reason } = wire.decodeError(message);
        if (errno > 0) throw new NetlinkError(what, errno, reason, netns);
      }
      if (!interrupted || attempt === DUMP_ATTEMPTS) return bodies;
    }
  }

  /** Number of a device, undefined where there is none of that name. */
  async linkIndex(name: string, netns?: NetnsRef): Promise<number | undefined> {
    const index = await this.#native.interfaceIndexAsync({ name, ...(netns === undefined ? {} : { netns }) });
    return index === 0 ? undefined : index;
  }

  async links(netns?: NetnsRef): Promise<Link[]> {
    return (await this.#dump('list links', RTM_GETLINK, RTM_NEWLINK, linkQuery(), netns)).map(decodeLink);
  }

  /** @throws NetlinkError ENODEV */
  async link(name: string, netns?: NetnsRef): Promise<Link> {
    const found = (await this.links(netns)).find((link) => link.name === name);
    if (!found) throw new NetlinkError(`find link ${name}`, ENODEV, undefined, netns);
    return found;
  }

  async addresses(netns?: NetnsRef): Promise<Address[]> {
    return (await this.#dump('list addresses', RTM_GETADDR, RTM_NEWADDR, addressQuery(), netns)).map(
      decodeAddress,
    );
  }

  /** Routes of all tables and both families. */
  async routes(netns?: NetnsRef): Promise<Route[]> {
    return (await this.#dump('list routes', RTM_GETROUTE, RTM_NEWROUTE, routeQuery(), netns)).map(
      decodeRoute,
    );
  }

  async rules(netns?: NetnsRef): Promise<Rule[]> {
    return (await this.#dump('list rules', RTM_GETRULE, RTM_NEWRULE, routeQuery(), netns)).map(decodeRule);
  }

  async neighbours(netns?: NetnsRef): Promise<Neighbour[]> {
    const bodies = await this.#dump('list neighbours', RTM_GETNEIGH, RTM_NEWNEIGH, neighbourQuery(), netns);
    return bodies.map(decodeNeighbour);
  }

  /** cls_bpf filters; empty where the device has no clsact. */
  async filters(link: number, direction: TrafficDirection, netns?: NetnsRef): Promise<Filter[]> {
    const newFilter = 44;
    try {
      const query = filterQuery(link, direction);
      const bodies = await this.#dump('list filters', RTM_GETTFILTER, newFilter, query, netns);
      return bodies.map(decodeFilter).filter((filter) => filter !== undefined);
    } catch (error) {
      if (error instanceof NetlinkError && error.code === 'EINVAL') return [];
      throw error;
    }
  }

  /** Writes sysctls (`net.ipv4.ip_forward` or with slashes) as seen inside the namespace. */
  async writeSysctls(values: Readonly<Record<string, string | number>>, netns?: NetnsRef): Promise<void> {
    for (const [key, value] of Object.entries(values)) {
      const where = netns === undefined ? {} : { netns };
      await this.#native.writeFileAsync({ path: sysctlPath(key), text: String(value), ...where });
    }
  }

  async readSysctl(key: string, netns?: NetnsRef): Promise<string> {
    const where = netns === undefined ? {} : { netns };
    return (await this.#native.readFileAsync({ path: sysctlPath(key), ...where })).trim();
  }
}

/** Dots separate parts unless there are slashes (device names may hold dots). */
function sysctlPath(key: string): string {
  return `/proc/sys/${key.includes('/') ? key : key.replaceAll('.', '/')}`;
}

/** Whether an error is a refusal by the kernel with one of these errno names. */
export function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  if (error instanceof NetlinkError) return codes.includes(error.code);
  return isSystemError(error, ...codes);
}
