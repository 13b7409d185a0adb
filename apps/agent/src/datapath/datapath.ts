// SPDX-License-Identifier: Apache-2.0
// Loads the objects, keeps their maps pinned, attaches to devices and the cgroup, and gives the maps to the other parts.
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  cidrDenyMap,
  ctAnyGlobalMap,
  ctGlobalMap,
  ctHalfOpenMap,
  DatapathConfigCodec,
  encodeValue,
  endpointsMap,
  ipcacheExactMap,
  ipcacheMap,
  LAYOUT_HASH,
  lbReverseNatMap,
  lbServicesMap,
  lbSlotsMap,
  lxcMap,
  forwardedMap,
  metricsMap,
  policyMap,
  runtimeMap,
  snatMap,
  xdpMetricsMap,
  type DatapathConfig,
} from '@cilium-ts/abi';
import { AppError, errorMessage, type Logger } from '@cilium-ts/base';
import {
  attachCgroup,
  attachTraffic,
  attachXdp,
  AttachType,
  BpfObject,
  type BpfProgram,
  ensureBpffs,
  ensureCgroup2,
  probeFeatures,
  type Feature,
  type FeatureTable,
} from '@cilium-ts/bpf';
import type { Native } from '@cilium-ts/native';
import { accepting, deleteFilter, Netlink } from '@cilium-ts/netlink';
import type { AgentConfig } from '../config.ts';
import { RuntimeMemory } from './epoch.ts';
import { findObjectDirectory } from './files.ts';
import { PodHooks } from './pod-hooks.ts';
import { planDatapath, planMapSizes, type NodeFacts } from './plan.ts';

export interface NativeDevice {
  readonly name: string;
  readonly ifindex: number;
}

export interface AttachedDevice extends NativeDevice {
  readonly traffic: string;
  /** `native`, `generic`, or empty where XDP is off. */
  readonly xdp: string;
}

function openMaps(lxc: BpfObject, host: BpfObject, xdp: BpfObject, sock: BpfObject) {
  const owner = (name: string): BpfObject => {
    const found = [lxc, host, sock, xdp].find((object) => object.mapNames.includes(name));
    if (!found) throw new AppError('bpf-object', `no BPF object has map ${name}`);
    return found;
  };
  return {
    endpoints: owner('cilium_endpoints').map(endpointsMap),
    lxc: owner('cilium_lxc').map(lxcMap),
    ipcacheExact: owner('cilium_ipcache_exact').map(ipcacheExactMap),
    ipcache: owner('cilium_ipcache').map(ipcacheMap),
    policy: owner('cilium_policy').outerMap(policyMap),
    ctTcp: owner('cilium_ct_global').map(ctGlobalMap),
    ctHalfOpen: owner('cilium_ct_half_open').map(ctHalfOpenMap),
    ctAny: owner('cilium_ct_any_global').map(ctAnyGlobalMap),
    nat: owner('cilium_snat').map(snatMap),
    services: owner('cilium_lb_services').map(lbServicesMap),
    slots: owner('cilium_lb_slots').map(lbSlotsMap),
    reverseNat: owner('cilium_lb_reverse_nat').map(lbReverseNatMap),
    metrics: owner('cilium_metrics').perCpuMap(metricsMap),
    forwarded: owner('cilium_forwarded').perCpuMap(forwardedMap),
    xdpMetrics: owner('cilium_xdp_metrics').perCpuMap(xdpMetricsMap),
    cidrDeny: owner('cilium_cidr_deny').map(cidrDenyMap),
    runtime: owner('cilium_runtime').map(runtimeMap),
    eventsFd: owner('cilium_events').mapFd('cilium_events'),
  };
}

export type DatapathMaps = ReturnType<typeof openMaps>;

const SOCKET_HOOKS: readonly (readonly [string, number])[] = [
  ['cil_sock4_connect', AttachType.cgroupInet4Connect],
  ['cil_sock6_connect', AttachType.cgroupInet6Connect],
  ['cil_sock4_sendmsg', AttachType.cgroupUdp4Sendmsg],
  ['cil_sock6_sendmsg', AttachType.cgroupUdp6Sendmsg],
  ['cil_sock4_recvmsg', AttachType.cgroupUdp4Recvmsg],
  ['cil_sock6_recvmsg', AttachType.cgroupUdp6Recvmsg],
  ['cil_sock4_getpeername', AttachType.cgroupInet4Getpeername],
  ['cil_sock6_getpeername', AttachType.cgroupInet6Getpeername],
];

/** What is done where a feature is missing or switched off. */
const FALLBACKS: readonly (readonly [Feature, string])[] = [
  ['tcx', 'clsact filters'],
  ['redirect-peer', 'bpf_redirect to the pod’s device'],
  ['redirect-neigh', 'the kernel’s own routing'],
];

interface Parts {
  readonly native: Native;
  readonly config: AgentConfig;
  readonly logger: Logger;
  readonly features: FeatureTable;
  readonly constants: DatapathConfig;
  readonly objects: {
    readonly lxc: BpfObject;
    readonly host: BpfObject;
    readonly xdp: BpfObject;
    readonly sock: BpfObject;
  };
  readonly replaced: readonly string[];
}

/** Everything of ours in the kernel that is not of one pod. */
export class Datapath {
  readonly maps: DatapathMaps;
  readonly runtime: RuntimeMemory;
  readonly features: FeatureTable;
  readonly constants: DatapathConfig;
  /** Maps whose pinned state could not be kept. */
  readonly replacedMaps: readonly string[];
  /** Fallbacks taken, in words. */
  readonly fallbacks: string[] = [];
  readonly linkDirectory: string;
  readonly #parts: Parts;
  /** The programs of pods' devices. */
  readonly pods: PodHooks;
  readonly #devices: AttachedDevice[] = [];
  #socketLb = false;

  private constructor(parts: Parts) {
    const { lxc, host, xdp, sock } = parts.objects;
    this.#parts = parts;
    this.features = parts.features;
    this.constants = parts.constants;
    this.replacedMaps = parts.replaced;
    this.maps = openMaps(lxc, host, xdp, sock);
    this.runtime = new RuntimeMemory(this.maps.runtime.mmap());
    this.runtime.auditMode = parts.config.bool('policy-audit-mode');
    this.linkDirectory = join(parts.config.text('bpf-root'), 'cilium', 'links');
    mkdirSync(this.linkDirectory, { recursive: true });
    for (const [feature, taken] of FALLBACKS) {
      if (!this.features.has(feature)) this.#note(this.features.explain(feature), taken);
    }
    this.pods = new PodHooks({
      native: parts.native,
      logger: parts.logger,
      programs: { ingress: lxc.program('cil_from_container'), egress: lxc.program('cil_to_container') },
      linkDirectory: this.linkDirectory,
      method: this.#trafficMethod(),
      tcx: this.features.has('tcx'),
      onFallback: (reason) => this.#noteClsact(reason),
    });
  }

  /** @throws AppError with what to do; SystemError with the end of the verifier's log */
  static async load(native: Native, config: AgentConfig, node: NodeFacts, logger: Logger): Promise<Datapath> {
    const root = config.text('bpf-root');
    if (ensureBpffs(native, root)) logger.info({ path: root }, 'mounted the BPF file system');
    const features = probeFeatures(native, { disabled: disabledFeatures(config) });
    needFeatures(features, ['btf', 'ringbuf', 'lpm-trie', 'hash-of-maps']);
    const constants = planDatapath(config, node, {
      redirectPeer: features.has('redirect-peer'),
      redirectNeigh: features.has('redirect-neigh'),
      socketLb: config.bool('bpf-lb-sock') && features.has('cgroup-sock-addr'),
    });
    const directory = findObjectDirectory(config.text('bpf-object-dir'));
    const options = {
      constants: { config: encodeValue(DatapathConfigCodec, constants) },
      expectedLayoutHash: LAYOUT_HASH,
      mapSizes: planMapSizes(config),
      pinDirectory: join(root, 'tc', 'globals'),
    };
    const load = (name: string): Promise<BpfObject> => BpfObject.load(native, join(directory, name), options);
    // One after the other: each finds the maps that the one before it pinned.
    const objects = {
      lxc: await load('bpf_lxc.o'),
      host: await load('bpf_host.o'),
      xdp: await load('bpf_xdp.o'),
      sock: await load('bpf_sock.o'),
    };
    const replaced = Object.values(objects).flatMap((object) => object.replaced);
    for (const { name, reason } of replaced)
      logger.warn({ map: name, reason }, 'pinned map replaced, its state is lost');
    const names = replaced.map((pin) => pin.name);
    return new Datapath({ native, config, logger, features, constants, objects, replaced: names });
  }

  get devices(): readonly AttachedDevice[] {
    return this.#devices;
  }

  get socketLb(): boolean {
    return this.#socketLb;
  }

  get attachMode(): string {
    return this.#devices[0]?.traffic === 'clsact' ? 'Legacy TC' : 'TCX';
  }

  #trafficMethod(): 'auto' | 'tcx' | 'clsact' {
    return this.#parts.config.text('datapath-attach-mode') as 'auto' | 'tcx' | 'clsact';
  }

  #note(feature: string, taken: string): void {
    const line = `${feature}; taken instead: ${taken}`;
    if (this.fallbacks.includes(line)) return;
    this.fallbacks.push(line);
    this.#parts.logger.warn({ kernel: this.features.kernel }, line);
  }

  #noteClsact(reason: string): void {
    this.#note(this.features.explain('tcx'), `clsact (${reason})`);
  }

  /** Both hooks of a native device; an earlier run may have attached in another way. Returns the method taken. */
  async #attachBoth(device: NativeDevice, ingress: BpfProgram, egress: BpfProgram): Promise<string> {
    const { native } = this.#parts;
    const one = async (program: BpfProgram, direction: 'ingress' | 'egress'): Promise<string> => {
      const pinPath = join(this.linkDirectory, `${device.name}_${direction}`);
      const options = { program, ifindex: device.ifindex, direction, method: this.#trafficMethod(), pinPath };
      const attachment = await attachTraffic(native, options);
      // The other way's program goes only now, so that no packet passes unseen.
      if (attachment.method === 'clsact') rmSync(pinPath, { force: true });
      else await this.#removeFilter(device.ifindex, direction);
      if (attachment.fallback !== undefined) this.#noteClsact(attachment.fallback);
      return attachment.method;
    };
    const [method] = await Promise.all([one(ingress, 'ingress'), one(egress, 'egress')]);
    return method;
  }

  async #removeFilter(ifindex: number, direction: 'ingress' | 'egress'): Promise<void> {
    const request = accepting(deleteFilter(ifindex, direction, 1), 'ENOENT', 'EINVAL', 'ENODEV');
    await new Netlink(this.#parts.native).run(request);
  }

  /** Pins of pods that are no more. */
  pruneLinks(hostDevices: ReadonlySet<string>): string[] {
    const stale: string[] = [];
    for (const name of readdirSync(this.linkDirectory)) {
      const match = /^(lxc.+)_(ingress|egress)$/.exec(name);
      if (!match || hostDevices.has(match[1]!)) continue;
      rmSync(join(this.linkDirectory, name), { force: true });
      stale.push(name);
    }
    return stale;
  }

  async attachDevices(devices: readonly NativeDevice[]): Promise<void> {
    const { objects } = this.#parts;
    const fromDevice = objects.host.program('cil_from_netdev');
    const toDevice = objects.host.program('cil_to_netdev');
    for (const device of devices) {
      const traffic = await this.#attachBoth(device, fromDevice, toDevice);
      this.#devices.push({ ...device, traffic, xdp: await this.#attachXdp(device) });
    }
  }

  async #attachXdp(device: NativeDevice): Promise<string> {
    const { config, native, objects, logger } = this.#parts;
    const mode = config.text('bpf-lb-acceleration');
    const pinPath = join(this.linkDirectory, `${device.name}_xdp`);
    if (mode === 'disabled') {
      rmSync(pinPath, { force: true });
      return '';
    }
    const program = objects.xdp.program('cil_xdp_entry');
    try {
      const method = mode === 'best-effort' ? 'auto' : (mode as 'native' | 'generic');
      const attachment = await attachXdp(native, { program, ifindex: device.ifindex, method, pinPath });
      if (attachment.fallback !== undefined) {
        this.#note(`kernel ${this.features.kernel}: ${attachment.fallback} on ${device.name}`, 'generic XDP');
      }
      return attachment.method === 'xdp-native' ? 'native' : 'generic';
    } catch (error) {
      if (mode !== 'best-effort') throw error;
      this.#note(`kernel ${this.features.kernel}: no XDP on ${device.name} (${errorMessage(error)})`, 'none');
      logger.warn({ device: device.name }, 'XDP is off');
      return '';
    }
  }

  /** Socket load balancing for the processes below the cgroup root. */
  async attachSockets(): Promise<void> {
    const { config, native, objects, logger } = this.#parts;
    const path = config.text('cgroup-root');
    const wanted = config.bool('kube-proxy-replacement') && config.bool('bpf-lb-sock');
    if (!wanted || !this.features.has('cgroup-sock-addr')) {
      if (wanted) this.#note(this.features.explain('cgroup-sock-addr'), 'load balancing per packet only');
      for (const [name] of SOCKET_HOOKS) rmSync(join(this.linkDirectory, name), { force: true });
      return;
    }
    if (ensureCgroup2(native, path)) logger.info({ path }, 'mounted cgroup v2');
    await Promise.all(
      SOCKET_HOOKS.map(([name, attachType]) =>
        attachCgroup(native, {
          program: objects.sock.program(name),
          path,
          attachType,
          pinPath: join(this.linkDirectory, name),
        }),
      ),
    );
    this.#socketLb = true;
  }

  /** What is attached stays attached. */
  async stop(): Promise<void> {
    await this.pods.stop();
    for (const object of Object.values(this.#parts.objects)) object.close();
  }
}

function disabledFeatures(config: AgentConfig): Feature[] {
  const disabled: Feature[] = [];
  if (config.text('datapath-attach-mode') === 'clsact') disabled.push('tcx');
  if (!config.bool('bpf-redirect-peer')) disabled.push('redirect-peer');
  if (!config.bool('bpf-redirect-neigh')) disabled.push('redirect-neigh');
  return disabled;
}

function needFeatures(features: FeatureTable, needed: readonly Feature[]): void {
  const missing = needed.filter((feature) => !features.has(feature));
  if (missing.length === 0) return;
  throw new AppError(
    'kernel-too-old',
    `${missing.map((feature) => features.explain(feature)).join('; ')}: a kernel from 6.1 on with BTF is needed`,
  );
}

/** Whether a pinned map of that name exists: state of an earlier run. */
export function hasPinnedState(config: AgentConfig): boolean {
  return existsSync(join(config.text('bpf-root'), 'tc', 'globals', 'cilium_endpoints'));
}
