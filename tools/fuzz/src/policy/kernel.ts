// SPDX-License-Identifier: Apache-2.0
// The real programs of pods and of the node as judges: rule sets in their maps, each probe a packet under BPF_PROG_TEST_RUN, the answer read
// from what the program returns and from its events.
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as abi from '@cilium-ts/abi';
import { BpfObject, ensureBpffs, EventReader, type BpfProgram } from '@cilium-ts/bpf';
import { loadNative, type Native } from '@cilium-ts/native';
import { encodeEntry } from '@cilium-ts/policy';
import { PROTOCOLS, type Judgement } from '@cilium-ts/policy-oracle';
import { originOf, type Answer } from './compare.ts';
import { subjectIdentity, WORLD, type Compiled } from './compiled.ts';
import type { Setting } from './generate.ts';
import { POD_MAC, probePacket } from './packet.ts';
import type { Probe } from './probe.ts';
import { PODS, RESERVED } from './universe.ts';

/** lo: a test run needs a device that exists. */
const DEVICE = 1;
const IFINDEX_AT = 40;
const CONTEXT_SIZE = 192;
const TC_ACT_SHOT = 2;
const POD = { ipv4: '10.244.1.10', ipv6: 'fd00:10:244:1::10' };
/** As peer of pods it has the same addresses. */
const HOST = { ipv4: '192.168.77.1', ipv6: 'fd77::1' };
/** Source ports of the probes: none of them is ever asked for, so no probe looks like the answer to another. */
const FIRST_FLOW = 10_000;
const FLOWS = 20_000;
const RING_BYTES = 1 << 24;
/** More than what one probe writes into the ring. */
const PROBE_BYTES = 512;
/** How many probes fit into the ring before somebody must read it. */
export const PROBES_AT_ONCE = RING_BYTES / PROBE_BYTES / 2;

const MAP_SIZES = {
  cilium_events: RING_BYTES,
  cilium_ct_global: 1024,
  cilium_ct_half_open: 4096,
  cilium_ct_any_global: 4096,
  cilium_lb_slots: 16,
  cilium_snat: 16,
};

interface Programs {
  readonly egress: BpfProgram;
  readonly ingress: BpfProgram;
}

/** One case with the questions for it. */
export interface Trial {
  readonly setting: Setting;
  readonly compiled: Compiled;
  readonly probes: readonly Probe[];
}

interface Event {
  readonly type: number;
  readonly subtype: number;
  readonly origin: number;
  readonly ruleSet: number;
}

function config(allowHost: boolean): Uint8Array {
  const { ConfigFlags } = abi;
  return abi.encodeValue(abi.DatapathConfigCodec, {
    ...abi.DatapathConfigCodec.decode(new Uint8Array(abi.DatapathConfigCodec.size), 0),
    flags:
      ConfigFlags.CONFIG_IPV4 |
      ConfigFlags.CONFIG_IPV6 |
      ConfigFlags.CONFIG_SOURCE_IP_CHECK |
      (allowHost ? ConfigFlags.CONFIG_ALLOW_HOST : 0) |
      ConfigFlags.CONFIG_HOST_FIREWALL |
      ConfigFlags.CONFIG_DROP_EVENTS |
      ConfigFlags.CONFIG_VERDICT_EVENTS,
    layoutHash: abi.LAYOUT_HASH,
    // Connections are over at once: every probe is a new flow.
    ctTcp: 0,
    ctTcpSyn: 0,
    ctTcpClosing: 0,
    ctAny: 0,
    traceInterval: 5,
  });
}

/** The programs loaded once, for settings that agree on whether the local host is let in. */
export class KernelBed {
  readonly #native: Native;
  readonly #directory: string;
  readonly #objects: readonly BpfObject[];
  readonly #ringFd: number;
  readonly #reader: EventReader;
  readonly #pod: Programs;
  readonly #host: Programs;
  readonly #maps;
  readonly #events: Event[] = [];
  readonly #context = new Uint8Array(CONTEXT_SIZE);
  readonly #prefixes = new Map<string, number>();
  #epoch = 1n;
  #flow = 0;
  #eventsRead = 0;

  private constructor(native: Native, directory: string, object: BpfObject, host: BpfObject) {
    this.#native = native;
    this.#directory = directory;
    this.#objects = [object, host];
    this.#pod = {
      egress: object.program('cil_from_container'),
      ingress: object.program('cil_to_container'),
    };
    this.#host = { egress: host.program('cil_to_netdev'), ingress: host.program('cil_from_netdev') };
    this.#maps = {
      endpoints: object.map(abi.endpointsMap),
      lxc: object.map(abi.lxcMap),
      exact: object.map(abi.ipcacheExactMap),
      prefixes: object.map(abi.ipcacheMap),
      policy: object.outerMap(abi.policyMap),
      runtime: object.map(abi.runtimeMap),
      sequence: object.perCpuMap(abi.eventSeqMap),
    };
    this.#ringFd = object.mapFd('cilium_events');
    this.#reader = new EventReader(native, this.#ringFd, (batch) => {
      batch.forEach((bytes, offset) => this.#events.push(abi.PacketEventCodec.decode(bytes, offset)));
    });
    new DataView(this.#context.buffer).setUint32(IFINDEX_AT, DEVICE, true);
    for (const { identity, ipv4, ipv6 } of [...PODS, ...RESERVED]) {
      for (const addr of [ipv4, ipv6]) this.#maps.exact.set({ addr }, { identity, flags: 0, node: '' });
    }
    const behind = { ifindex: 0, id: 1, flags: abi.EndpointFlags.ENDPOINT_HOST };
    for (const addr of [HOST.ipv4, HOST.ipv6]) this.#maps.lxc.set({ addr }, behind);
  }

  /** Needs root. */
  static async open(allowHost: boolean): Promise<KernelBed> {
    const native = loadNative();
    const directory = mkdtempSync(join(tmpdir(), `ctst-${process.pid}-fuzz-`));
    ensureBpffs(native, directory);
    const load = (file: string): Promise<BpfObject> =>
      BpfObject.load(native, join(process.env['CILIUM_TS_BPF'] ?? 'dist/bpf', file), {
        constants: { config: config(allowHost) },
        expectedLayoutHash: abi.LAYOUT_HASH,
        pinDirectory: directory,
        mapSizes: MAP_SIZES,
      });
    try {
      return new KernelBed(native, directory, await load('bpf_lxc.o'), await load('bpf_host.o'));
    } catch (error) {
      native.umount({ target: directory });
      rmdirSync(directory);
      throw error;
    }
  }

  /** Answers for each trial's probes; at most PROBES_AT_ONCE of them. `auditMode`: of the whole agent. */
  async answer(trials: readonly Trial[], auditMode = false): Promise<Answer[][]> {
    const inner = [];
    for (const { compiled } of trials) {
      inner.push(await this.#maps.policy.createInner([...compiled.state.entries()].map(encodeEntry)));
    }
    await this.#maps.policy.put(inner.map((map, index) => [index + 1, map]));
    for (const map of inner) map.close();
    const actions = trials.map((trial, index) => this.#run(trial, index + 1, auditMode));
    const events = await this.#drain();
    const next = { at: 0 };
    return trials.map(({ compiled }, index) =>
      actions[index]!.map((action) => readAnswer(action, events, next, index + 1, compiled)),
    );
  }

  /** What the programs return for each probe. */
  #run({ setting, compiled, probes }: Trial, ruleSet: number, auditMode: boolean): number[] {
    this.#setPrefixes(compiled);
    const ofHost = setting.subject === 'host';
    const own = ofHost ? HOST : POD;
    const row = { identity: subjectIdentity(setting), ruleSet, id: 1, flags: 0, mac: POD_MAC, nodeMac: '' };
    this.#maps.endpoints.set({ ifindex: ofHost ? 0 : DEVICE }, { ...own, ...row });
    this.#maps.endpoints.delete({ ifindex: ofHost ? DEVICE : 0 });
    this.#epoch += 1n;
    this.#maps.runtime.set({ index: 0 }, { policyEpoch: this.#epoch, auditMode: auditMode ? 1 : 0 });
    const programs = ofHost ? this.#host : this.#pod;
    return probes.map((probe) => this.#runOne(probe, programs[probe.direction], own));
  }

  #runOne({ direction, peer, protocol, port }: Probe, program: BpfProgram, own: typeof POD): number {
    const flow = FIRST_FLOW + (this.#flow++ % FLOWS);
    const v6 = protocol === PROTOCOLS.ICMPV6 || (protocol !== PROTOCOLS.ICMP && this.#flow % 2 === 0);
    const theirs = peer.addresses.find((address) => address.includes(':') === v6) ?? peer.addresses[0]!;
    const ours = theirs.includes(':') ? own.ipv6 : own.ipv4;
    const [source, destination] = direction === 'egress' ? [ours, theirs] : [theirs, ours];
    const data = probePacket({ source, destination, protocol, flow, port });
    return program.testRun({ data, ctx: this.#context }).retval;
  }

  #setPrefixes({ cidrs }: Compiled): void {
    // As the agent does: IPv4 has a row of its own, so that no prefix of IPv6 holds it.
    const wanted = new Map([
      ['0.0.0.0/0', WORLD],
      ...cidrs.map((each) => [each.prefix, each.identity] as const),
    ]);
    for (const prefix of this.#prefixes.keys()) {
      if (wanted.has(prefix)) continue;
      this.#maps.prefixes.delete(prefixKey(prefix));
      this.#prefixes.delete(prefix);
    }
    for (const [prefix, identity] of wanted) {
      if (this.#prefixes.get(prefix) === identity) continue;
      this.#maps.prefixes.set(prefixKey(prefix), { identity, flags: 0, node: '' });
      this.#prefixes.set(prefix, identity);
    }
  }

  /** The events since the last call, in the order of the packets. @throws Error where some are missing */
  async #drain(): Promise<Event[]> {
    const wanted = this.#maps.sequence.get(0)!.reduce((sum, value) => sum + value, 0);
    const deadline = Date.now() + 10_000;
    while (this.#eventsRead + this.#events.length < wanted) {
      if (Date.now() > deadline) throw new Error(`events lost: ${this.#events.length} of ${wanted}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    this.#eventsRead += this.#events.length;
    return this.#events.splice(0);
  }

  close(): void {
    this.#reader.stop();
    this.#native.fdClose({ fd: this.#ringFd });
    for (const { egress, ingress } of [this.#pod, this.#host]) {
      egress.close();
      ingress.close();
    }
    for (const map of Object.values(this.#maps)) map.close();
    for (const object of this.#objects) object.close();
    this.#native.umount({ target: this.#directory });
    rmdirSync(this.#directory);
  }
}

function prefixKey(prefix: string): { prefixlen: number; addr: string } {
  const [addr, bits] = prefix.split('/') as [string, string];
  return { prefixlen: Number(bits) + (addr.includes(':') ? 0 : 96), addr };
}

const DROPS: ReadonlyMap<number, Judgement['verdict']> = new Map([
  [abi.DropReason.DROP_POLICY_DENIED, 'deny'],
  [abi.DropReason.DROP_POLICY_DENY_LIST, 'deny'],
  [abi.DropReason.DROP_POLICY_UNENFORCED, 'unenforced'],
]);

/** One verdict event, and behind it one drop event if the packet was dropped. @throws Error where it is otherwise */
function readAnswer(
  action: number,
  events: readonly Event[],
  next: { at: number },
  ruleSet: number,
  { ruleSet: { origins } }: Compiled,
): Answer {
  const verdict = events[next.at++];
  if (verdict?.type !== abi.EventType.EVENT_POLICY_VERDICT || verdict.ruleSet !== ruleSet) {
    throw new Error(`no verdict of rule set ${ruleSet} but ${JSON.stringify(verdict, replaceBig)}`);
  }
  const origin = originOf(origins, verdict.origin);
  if (action !== TC_ACT_SHOT) {
    return { verdict: verdict.subtype === abi.PolicyVerdict.VERDICT_AUDITED ? 'audit' : 'allow', ...origin };
  }
  const drop = events[next.at++];
  const reason = drop?.type === abi.EventType.EVENT_DROP ? DROPS.get(drop.subtype) : undefined;
  if (!reason) throw new Error(`dropped by ${JSON.stringify(drop, replaceBig)}`);
  return { verdict: reason, ...origin };
}

function replaceBig(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
