// SPDX-License-Identifier: Apache-2.0
// Nanoseconds per packet of the pod programs under BPF_PROG_TEST_RUN. A wrapper program (bpf/tests/bench_wrapper.c)
// restores the packet and sets the flow number before each run; what it costs by itself is measured and subtracted.
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as abi from '@cilium-ts/abi';
import { BpfObject, ensureBpffs, type BpfProgram } from '@cilium-ts/bpf';
import { loadNative, type Native } from '@cilium-ts/native';
import { benchRow, median, type Bench, type BenchOptions, type BenchRow } from './bench.ts';
import { bpfObjectDirectory } from './datapath.ts';
import { packetTemplate, templateBytes, type Template } from './packet-template.ts';

/** lo: a test run needs a device that exists. */
const DEVICE = 1;
const LOCAL_DEVICE = 1002;
const CONTEXT_SIZE = 192;
const IFINDEX_AT = 40;
const REPEAT = 300_000;
const NEW_FLOWS = 50_000;
const ROUNDS = 7;
const TC_ACT_OK = 0;
const TC_ACT_SHOT = 2;
const TC_ACT_REDIRECT = 7;
const RULE_SET = 1;

const POD = '10.244.1.10';
const LOCAL = '10.244.1.20';
const REMOTE = '10.244.2.30';
const PORT = 8080;
const DENIED_PORT = 9090;
const { ConfigFlags, TrafficDirection } = abi;

interface Bed {
  readonly pods: BpfObject;
  readonly wrapper: BpfProgram;
  readonly native: Native;
  readonly context: Uint8Array;
  readonly template: ReturnType<typeof templateMap>;
  readonly targets: Map<string, Uint8Array>;
  readonly targetMap: number;
  floor: number;
}

function config(): Uint8Array {
  return abi.encodeValue(abi.DatapathConfigCodec, {
    ...abi.DatapathConfigCodec.decode(new Uint8Array(abi.DatapathConfigCodec.size), 0),
    flags:
      ConfigFlags.CONFIG_IPV4 |
      ConfigFlags.CONFIG_IPV6 |
      ConfigFlags.CONFIG_SOURCE_IP_CHECK |
      ConfigFlags.CONFIG_ALLOW_HOST |
      ConfigFlags.CONFIG_DROP_EVENTS |
      ConfigFlags.CONFIG_TRACE_EVENTS |
      ConfigFlags.CONFIG_VERDICT_EVENTS |
      ConfigFlags.CONFIG_REDIRECT_PEER,
    layoutHash: abi.LAYOUT_HASH,
    ctTcp: 8000,
    ctTcpSyn: 60,
    ctTcpClosing: 10,
    ctAny: 60,
    traceInterval: 5,
  });
}

function templateMap(native: Native, wrapper: BpfObject) {
  const fd = wrapper.mapFd('bench_template');
  return {
    fd,
    set: (template: Template) => native.mapUpdate(fd, new Uint8Array(4), templateBytes(template), 0),
  };
}

async function fillMaps(pods: BpfObject): Promise<void> {
  const endpoints = pods.map(abi.endpointsMap);
  const lxc = pods.map(abi.lxcMap);
  const ipcache = pods.map(abi.ipcacheExactMap);
  const policy = pods.outerMap(abi.policyMap);
  const runtime = pods.map(abi.runtimeMap);
  const endpoint = { identity: 1001, ruleSet: RULE_SET, id: 1, flags: 0, nodeMac: '', ipv6: '' };
  endpoints.set({ ifindex: DEVICE }, { ...endpoint, mac: '02:00:00:00:00:01', ipv4: POD });
  endpoints.set({ ifindex: LOCAL_DEVICE }, { ...endpoint, id: 2, mac: '02:00:00:00:00:02', ipv4: LOCAL });
  // The flow number is added to the last byte of the peer's address.
  for (let i = 0; i < 16; i++) {
    const addr = LOCAL.replace(/\d+$/, (last) => String(Number(last) + i));
    lxc.set({ addr }, { ifindex: LOCAL_DEVICE, id: 2, flags: 0 });
  }
  lxc.set({ addr: POD }, { ifindex: DEVICE, id: 1, flags: 0 });
  await ipcache.setMany(
    Array.from({ length: 1000 }, (_, i) => [
      { addr: `10.244.${2 + (i >> 8)}.${i & 255}` },
      { identity: 1003, flags: 0, node: '192.168.77.2' },
    ]),
  );
  const inner = await policy.createInner(ruleSet());
  await policy.put([[RULE_SET, inner]]);
  runtime.set({ index: 0 }, { policyEpoch: 1n, auditMode: 0 });
  for (const map of [endpoints, lxc, ipcache, policy, inner, runtime]) map.close();
}

/** 100 entries: the peers on one port both ways, and others that never match. */
function ruleSet(): [abi.PolicyKey, abi.PolicyEntry][] {
  const entry = (identity: number, direction: number, port: number): [abi.PolicyKey, abi.PolicyEntry] => [
    { prefixlen: 64, identity, direction, protocol: 6, port },
    { origin: 1, precedence: 1, l7RuleSet: 0, flags: 0, prefixBits: 24 },
  ];
  const { DIR_EGRESS, DIR_INGRESS } = TrafficDirection;
  return [
    ...[1001, 1003].flatMap((identity) => [
      entry(identity, DIR_EGRESS, PORT),
      entry(identity, DIR_INGRESS, PORT),
    ]),
    ...Array.from({ length: 96 }, (_, i) => entry(2000 + i, DIR_EGRESS, 1000 + i)),
  ];
}

async function openBed(native: Native, directory: string, small: boolean): Promise<Bed> {
  const objects = bpfObjectDirectory();
  const pods = await BpfObject.load(native, join(objects, 'bpf_lxc.o'), {
    constants: { config: config() },
    expectedLayoutHash: abi.LAYOUT_HASH,
    pinDirectory: directory,
    // As large as the peer's tables were: a full table measures eviction, not the path.
    mapSizes: small ? {} : { cilium_ct_global: 524_288, cilium_ct_half_open: 524_288 },
  });
  await fillMaps(pods);
  const wrapper = await BpfObject.load(native, join(objects, 'tests/bench_wrapper.o'));
  const targets = new Map<string, Uint8Array>();
  const program = (object: BpfObject, name: string): void => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, object.program(name).fd, true);
    targets.set(name, bytes);
  };
  program(pods, 'cil_from_container');
  program(pods, 'cil_to_container');
  program(wrapper, 'bench_floor');
  const context = new Uint8Array(CONTEXT_SIZE);
  new DataView(context.buffer).setUint32(IFINDEX_AT, DEVICE, true);
  return {
    pods,
    native,
    context,
    targets,
    wrapper: wrapper.program('bench_wrapper'),
    template: templateMap(native, wrapper),
    targetMap: wrapper.mapFd('bench_target'),
    floor: 0,
  };
}

/** Mean nanoseconds of one run, wrapper included. @throws Error where the program answers otherwise than the case says */
async function runPackets(
  bed: Bed,
  target: string,
  template: Template,
  repeat: number,
  action: number,
): Promise<number> {
  bed.native.mapUpdate(bed.targetMap, new Uint8Array(4), bed.targets.get(target)!, 0);
  bed.template.set(template);
  const result = await bed.wrapper.testRunAsync({ data: template.bytes, ctx: bed.context, repeat });
  if (result.retval !== action) {
    throw new Error(`pod-packet: ${target} answered ${result.retval}, expected ${action}`);
  }
  return result.duration;
}

const SYN = 2;
const ACK = 16;

function toPeer(peer: string, tcpFlags: number, flows: number, first = 0, port = PORT): Template {
  return packetTemplate({ source: POD, destination: peer, flowEnd: 'source', port, tcpFlags, flows, first });
}

function fromPeer(peer: string, tcpFlags: number, flows: number): Template {
  return packetTemplate({
    source: peer,
    destination: POD,
    flowEnd: 'destination',
    port: PORT,
    tcpFlags,
    flows,
  });
}

/** A whole handshake for every flow: only then is it established in our books. */
async function establish(bed: Bed, peer: string, flows: number, action: number): Promise<void> {
  await runPackets(bed, 'cil_from_container', toPeer(peer, SYN, flows), flows, action);
  await runPackets(bed, 'cil_to_container', fromPeer(peer, SYN | ACK, flows), flows, TC_ACT_OK);
  await runPackets(bed, 'cil_from_container', toPeer(peer, ACK, flows), flows, action);
}

interface Case {
  readonly name: string;
  readonly goal?: number;
  prepare?(bed: Bed): Promise<void>;
  measure(bed: Bed, round: number, small: boolean): Promise<number>;
}

function establishedCase(flows: number, goal: number): Case {
  return {
    name: `pod egress, established, ${flows} flows`,
    goal,
    prepare: (bed) => establish(bed, REMOTE, flows, TC_ACT_OK),
    measure: (bed, _, small) =>
      runPackets(bed, 'cil_from_container', toPeer(REMOTE, ACK, flows), small ? 1000 : REPEAT, TC_ACT_OK),
  };
}

function ingressCase(flows: number, goal: number | undefined): Case {
  return {
    name: `pod ingress, established, ${flows} flows`,
    ...(goal === undefined ? {} : { goal }),
    prepare: (bed) => establish(bed, REMOTE, flows, TC_ACT_OK),
    measure: (bed, _, small) =>
      runPackets(bed, 'cil_to_container', fromPeer(REMOTE, ACK, flows), small ? 1000 : REPEAT, TC_ACT_OK),
  };
}

function localCase(flows: number): Case {
  return {
    name: `pod to pod on the node (both policies, redirect_peer), established, ${flows} flows`,
    prepare: (bed) => establish(bed, LOCAL, flows, TC_ACT_REDIRECT),
    measure: (bed, _, small) =>
      runPackets(
        bed,
        'cil_from_container',
        toPeer(LOCAL, ACK, flows),
        small ? 1000 : REPEAT,
        TC_ACT_REDIRECT,
      ),
  };
}

const CASES: readonly Case[] = [
  establishedCase(1, 250),
  establishedCase(1000, 260),
  establishedCase(65_536, 450),
  ingressCase(1, 170),
  ingressCase(65_536, undefined),
  localCase(1),
  localCase(65_536),
  {
    name: 'pod egress, dropped by policy',
    goal: 230,
    measure: (bed, _, small) =>
      runPackets(
        bed,
        'cil_from_container',
        toPeer(REMOTE, SYN, 1, 0, DENIED_PORT),
        small ? 1000 : REPEAT,
        TC_ACT_SHOT,
      ),
  },
  {
    name: 'pod egress, new flow',
    goal: 700,
    measure: (bed, round, small) => {
      const flows = small ? 1000 : NEW_FLOWS;
      // Rounds take fresh flow numbers, behind those of the established cases.
      const first = 2 * 65_536 + round * flows;
      return runPackets(bed, 'cil_from_container', toPeer(REMOTE, SYN, flows, first), flows, TC_ACT_OK);
    },
  },
];

async function measureAll(bed: Bed, options: BenchOptions): Promise<BenchRow[]> {
  const rounds = options.small ? 1 : ROUNDS;
  const floors: number[] = [];
  const values = CASES.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    options.log(`round ${round + 1} of ${rounds}`);
    floors.push(
      await runPackets(bed, 'bench_floor', toPeer(REMOTE, ACK, 1), options.small ? 1000 : REPEAT, TC_ACT_OK),
    );
    for (const [i, each] of CASES.entries()) {
      if (round === 0) await each.prepare?.(bed);
      values[i]!.push(await each.measure(bed, round, options.small));
    }
  }
  const floor = median(floors);
  options.log(`wrapper alone: ${floor} ns, subtracted; events on, no reader attached`);
  return CASES.map((each, i) =>
    benchRow({
      case: each.name,
      unit: 'ns/packet',
      ours: Math.max(0, median(values[i]!) - floor),
      better: 'lower',
      ...(each.goal === undefined ? {} : { goal: each.goal }),
    }),
  );
}

export const podPacket: Bench = {
  name: 'pod-packet',
  summary: 'nanoseconds per packet of the pod programs, by BPF_PROG_TEST_RUN',
  async run(options) {
    const native = loadNative();
    const directory = mkdtempSync(join(tmpdir(), 'ctb-packet-'));
    ensureBpffs(native, directory);
    try {
      const bed = await openBed(native, directory, options.small);
      try {
        return await measureAll(bed, options);
      } finally {
        bed.wrapper.close();
        bed.pods.close();
        for (const bytes of bed.targets.values()) {
          native.fdClose({ fd: new DataView(bytes.buffer).getUint32(0, true) });
        }
        native.fdClose({ fd: bed.template.fd });
        native.fdClose({ fd: bed.targetMap });
      }
    } finally {
      native.umount({ target: directory });
      rmdirSync(directory);
    }
  },
};
