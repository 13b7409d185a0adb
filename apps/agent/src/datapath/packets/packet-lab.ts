// SPDX-License-Identifier: Apache-2.0
// The datapath programs on a table: maps filled by hand, packets given to BPF_PROG_TEST_RUN, events read back.
import { join } from 'node:path';
import * as abi from '@cilium-ts/abi';
import { BpfObject, EventReader, ensureBpffs, type BpfProgram } from '@cilium-ts/bpf';
import { loadNative, type Native } from '@cilium-ts/native';
import { uniqueName } from '@cilium-ts/native/testing';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';

export const Action = { ok: 0, drop: 2, redirect: 7 } as const;

export type ProgramName = 'cil_from_container' | 'cil_to_container' | 'cil_from_netdev' | 'cil_to_netdev';

export interface LabPod {
  name: string;
  id: number;
  identity: number;
  ipv4: string;
  ipv6: string;
  mac: string;
  /** Of its device; default 100 + id. */
  ifindex?: number;
}

const ifindexOf = (pod: LabPod): number => pod.ifindex ?? 100 + pod.id;

export interface PolicyRule {
  direction: 'ingress' | 'egress';
  /** 0 or absent: any */
  identity?: number;
  protocol?: number;
  port?: number;
  verdict?: 'allow' | 'deny' | 'unenforced';
  precedence?: number;
  origin?: number;
}

export interface RunResult {
  action: number;
  packet: Uint8Array;
  /** skb->mark after the run. */
  mark: number;
}

export const NODE = { ipv4: '192.168.77.1', ipv6: 'fd77::1' };
/** Whom a pod sees that reaches itself through a Service. */
export const LOOPBACK = { ipv4: '169.254.42.1', ipv6: '100::a9fe:2a01' };
export const POD_CIDR = { ipv4: '10.244.0.0', ipv6: 'fd00:10:244::' };

const { ConfigFlags } = abi;
const DEFAULT_FLAGS =
  ConfigFlags.CONFIG_IPV4 |
  ConfigFlags.CONFIG_IPV6 |
  ConfigFlags.CONFIG_MASQUERADE_IPV4 |
  ConfigFlags.CONFIG_MASQUERADE_IPV6 |
  ConfigFlags.CONFIG_SOURCE_IP_CHECK |
  ConfigFlags.CONFIG_ALLOW_HOST |
  ConfigFlags.CONFIG_DROP_EVENTS |
  ConfigFlags.CONFIG_TRACE_EVENTS |
  ConfigFlags.CONFIG_VERDICT_EVENTS |
  ConfigFlags.CONFIG_PER_PACKET_LB |
  ConfigFlags.CONFIG_REDIRECT_PEER;

/** lo: the one device that exists everywhere; a test run needs a real one. */
const DEVICE = 1;
const MARK_AT = 8;
const IFINDEX_AT = 40;
const CONTEXT_SIZE = 192;

export function labConfig(flags: number): Uint8Array {
  const config: abi.DatapathConfig = {
    flags,
    layoutHash: abi.LAYOUT_HASH,
    nodeIpv4: NODE.ipv4,
    nodeIpv6: NODE.ipv6,
    nativeCidrIpv4: POD_CIDR.ipv4,
    nativeCidrIpv6: POD_CIDR.ipv6,
    loopbackIpv4: LOOPBACK.ipv4,
    loopbackIpv6: LOOPBACK.ipv6,
    nativeCidrIpv4Bits: 96 + 16,
    nativeCidrIpv6Bits: 48,
    ctTcp: 8000,
    ctTcpSyn: 60,
    ctTcpClosing: 10,
    ctAny: 60,
    traceInterval: 5,
    natPortMin: 61000,
    natPortMax: 65535,
    nativeIfindex: 0,
  };
  return abi.encodeValue(abi.DatapathConfigCodec, config);
}

export interface LabOptions {
  flags?: number;
  mapSizes?: Record<string, number>;
}

export class PacketLab {
  readonly native: Native;
  readonly #objects: BpfObject[];
  readonly #programs = new Map<string, BpfProgram>();
  readonly #directory: string;
  readonly #reader: EventReader;
  readonly #events: abi.PacketEvent[] = [];
  readonly #ringFd: number;
  readonly #sequence;
  readonly endpoints;
  readonly lxc;
  readonly ipcache;
  readonly ipcachePrefixes;
  readonly policy;
  readonly runtime;
  readonly connections;
  readonly halfOpen;
  readonly otherConnections;
  readonly services;
  readonly slots;
  readonly reverseNat;
  readonly affinity;
  readonly nat;
  readonly forwarded;
  #ruleSets = 0;
  #epoch = 1n;
  readonly #pods: LabPod[] = [];

  private constructor(native: Native, directory: string, pod: BpfObject, host: BpfObject) {
    this.native = native;
    this.#directory = directory;
    this.#objects = [pod, host];
    this.endpoints = pod.map(abi.endpointsMap);
    this.lxc = pod.map(abi.lxcMap);
    this.ipcache = pod.map(abi.ipcacheExactMap);
    this.ipcachePrefixes = pod.map(abi.ipcacheMap);
    this.policy = pod.outerMap(abi.policyMap);
    this.runtime = pod.map(abi.runtimeMap);
    this.connections = pod.map(abi.ctGlobalMap);
    this.halfOpen = pod.map(abi.ctHalfOpenMap);
    this.otherConnections = pod.map(abi.ctAnyGlobalMap);
    this.services = pod.map(abi.lbServicesMap);
    this.slots = pod.map(abi.lbSlotsMap);
    this.reverseNat = pod.map(abi.lbReverseNatMap);
    this.affinity = pod.map(abi.lbAffinityMap);
    this.nat = host.map(abi.snatMap);
    this.#sequence = pod.perCpuMap(abi.eventSeqMap);
    this.forwarded = pod.perCpuMap(abi.forwardedMap);
    for (const object of this.#objects) {
      for (const name of object.programNames) this.#programs.set(name, object.program(name));
    }
    this.#ringFd = pod.mapFd('cilium_events');
    this.#reader = new EventReader(native, this.#ringFd, (batch) => {
      batch.forEach((bytes, offset) => this.#events.push(abi.PacketEventCodec.decode(bytes, offset)));
    });
    this.runtime.set({ index: 0 }, { policyEpoch: this.#epoch, auditMode: 0 });
  }

  static async create(options: LabOptions = {}): Promise<PacketLab> {
    const native = loadNative();
    const directory = mkdtempSync(join(tmpdir(), `${uniqueName('packets')}-`));
    ensureBpffs(native, directory);
    const load = (file: string): Promise<BpfObject> =>
      BpfObject.load(native, join(process.env['CILIUM_TS_BPF'] ?? 'dist/bpf', file), {
        constants: { config: labConfig(options.flags ?? DEFAULT_FLAGS) },
        expectedLayoutHash: abi.LAYOUT_HASH,
        pinDirectory: directory,
        mapSizes: {
          cilium_ct_global: 4096,
          cilium_ct_half_open: 1024,
          cilium_ct_any_global: 4096,
          cilium_snat: 4096,
          cilium_lb_slots: 1024,
          ...options.mapSizes,
        },
      });
    try {
      return new PacketLab(native, directory, await load('bpf_lxc.o'), await load('bpf_host.o'));
    } catch (error) {
      native.umount({ target: directory });
      rmdirSync(directory);
      throw error;
    }
  }

  static readonly defaultFlags = DEFAULT_FLAGS;

  program(name: ProgramName): BpfProgram {
    return this.#programs.get(name)!;
  }

  /** A local pod with an empty rule set: everything is denied by default. */
  async addPod(pod: LabPod): Promise<void> {
    this.#pods.push(pod);
    await this.setPolicy(pod, []);
    for (const addr of [pod.ipv4, pod.ipv6]) this.#writeAddress(pod, addr, ifindexOf(pod));
  }

  #writeAddress(pod: LabPod, addr: string, ifindex: number): void {
    this.lxc.set(
      { addr },
      { ifindex, id: pod.id, flags: ifindex === 0 ? abi.EndpointFlags.ENDPOINT_HOST : 0 },
    );
    this.ipcache.set({ addr }, { identity: pod.identity, flags: 0, node: '' });
  }

  /** A new rule set under a new number, and the epoch raised, as the agent does it. */
  async setPolicy(pod: LabPod, rules: readonly PolicyRule[]): Promise<number> {
    const ruleSet = ++this.#ruleSets;
    const inner = await this.policy.createInner(rules.map(policyElement), 1);
    await this.policy.put([[ruleSet, inner]]);
    inner.close();
    this.setEndpoint(pod, { ruleSet });
    this.raiseEpoch();
    return ruleSet;
  }

  setEndpoint(pod: LabPod, change: Partial<abi.EndpointValue>): void {
    const key = { ifindex: ifindexOf(pod) };
    const before = this.endpoints.get(key);
    this.endpoints.set(key, {
      identity: pod.identity,
      ruleSet: 0,
      id: pod.id,
      flags: 0,
      mac: pod.mac,
      nodeMac: '02:00:00:00:00:fe',
      ipv4: pod.ipv4,
      ipv6: pod.ipv6,
      ...before,
      ...change,
    });
  }

  raiseEpoch(): void {
    this.#epoch += 1n;
    this.runtime.set({ index: 0 }, { policyEpoch: this.#epoch, auditMode: 0 });
  }

  /** Runs a program of the pod's own device. */
  fromPod(pod: LabPod, packet: Uint8Array): RunResult {
    return this.#onDeviceOf(pod, 'cil_from_container', packet);
  }

  toPod(pod: LabPod, packet: Uint8Array, mark = 0): RunResult {
    return this.#onDeviceOf(pod, 'cil_to_container', packet, mark);
  }

  /** For the run the pod lives behind the one device that exists. */
  #onDeviceOf(pod: LabPod, name: ProgramName, packet: Uint8Array, mark = 0): RunResult {
    const endpoint = this.endpoints.get({ ifindex: ifindexOf(pod) })!;
    this.endpoints.set({ ifindex: DEVICE }, endpoint);
    try {
      return this.run(name, packet, mark);
    } finally {
      this.endpoints.delete({ ifindex: DEVICE });
    }
  }

  run(name: ProgramName, packet: Uint8Array, mark = 0): RunResult {
    const ctx = new Uint8Array(CONTEXT_SIZE);
    const view = new DataView(ctx.buffer);
    view.setUint32(IFINDEX_AT, DEVICE, true);
    view.setUint32(MARK_AT, mark, true);
    const result = this.program(name).testRun({ data: packet, ctx });
    const after = new DataView(result.ctx.buffer, result.ctx.byteOffset).getUint32(MARK_AT, true);
    return { action: result.retval, packet: result.data, mark: after };
  }

  /** The events since the last call, in order; waits until the ring has given them all. */
  async events(): Promise<abi.PacketEvent[]> {
    const wanted = this.#sequence.get(0)!.reduce((sum, value) => sum + value, 0);
    const deadline = Date.now() + 5000;
    while (this.#seen + this.#events.length < wanted && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    this.#seen += this.#events.length;
    return this.#events.splice(0);
  }
  #seen = 0;

  close(): void {
    this.#reader.stop();
    this.native.fdClose({ fd: this.#ringFd });
    for (const program of this.#programs.values()) program.close();
    for (const map of [
      this.endpoints,
      this.lxc,
      this.ipcache,
      this.ipcachePrefixes,
      this.policy,
      this.runtime,
      this.connections,
      this.halfOpen,
      this.otherConnections,
      this.services,
      this.slots,
      this.reverseNat,
      this.affinity,
      this.nat,
      this.#sequence,
      this.forwarded,
    ]) {
      map.close();
    }
    for (const object of this.#objects) object.close();
    this.native.umount({ target: this.#directory });
    rmdirSync(this.#directory);
  }
}

function policyElement(rule: PolicyRule, index: number): [abi.PolicyKey, abi.PolicyEntry] {
  const bits = rule.port !== undefined ? 24 : rule.protocol !== undefined ? 8 : 0;
  const flags = {
    allow: 0,
    deny: abi.PolicyFlags.POLICY_DENY,
    unenforced: abi.PolicyFlags.POLICY_UNENFORCED,
  };
  return [
    {
      prefixlen: 40 + bits,
      identity: rule.identity ?? 0,
      direction: rule.direction === 'ingress' ? 0 : 1,
      protocol: rule.protocol ?? 0,
      port: rule.port ?? 0,
    },
    {
      origin: rule.origin ?? index + 1,
      precedence: rule.precedence ?? (rule.verdict === 'deny' ? 100 : 1),
      l7RuleSet: 0,
      flags: flags[rule.verdict ?? 'allow'],
      prefixBits: bits,
    },
  ];
}
