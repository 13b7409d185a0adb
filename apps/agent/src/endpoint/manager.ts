// SPDX-License-Identifier: Apache-2.0
// The life of local endpoints: create, restore, follow identity and policy, delete.
import { AppError, errorMessage, type Logger } from '@cilium-ts/base';
import { IDENTITY_HOST } from '@cilium-ts/identity';
import type { PolicyRevision } from '@cilium-ts/policy';
import type { Table } from '@cilium-ts/tables';
import type { Assignment, PolicyEndpoints } from '../policy/realizer.ts';
import type { EndpointRow } from '../rows.ts';
import {
  addressesOf,
  endpointValue,
  inState,
  isHost,
  removeRows,
  writeDelivery,
  type EndpointMaps,
} from './endpoint-rows.ts';
import type { EndpointStateFiles } from './endpoint-state.ts';
import { UNRESOLVED_IDENTITY, type PodFacts, type PodIdentities } from './pod-identity.ts';
import { hostDeviceName, type PodNetwork } from './pod-network.ts';

/** How long CNI ADD waits for an identity, and then for a rule set; without them the pod starts with everything denied. */
const WAIT_MS = 2000;
const ID_MAX = 4095;
const NO_MAC = '00:00:00:00:00:00';

export interface ManagerPorts {
  readonly table: Table<EndpointRow>;
  readonly maps: EndpointMaps;
  readonly network: PodNetwork;
  readonly identities: PodIdentities;
  readonly state: EndpointStateFiles;
  readonly ipam: {
    allocate(owner: string): { ipv4: string; ipv6: string };
    claim(address: string, owner: string): boolean;
    release(address: string, owner: string): void;
  };
  readonly hooks: {
    attach(device: { readonly name: string; readonly ifindex: number }): Promise<void>;
    restore(device: { readonly name: string; readonly ifindex: number }): Promise<void>;
    detach(hostDevice: string): Promise<void>;
  };
  readonly ipcache: {
    upsert(address: string, identity: number): void;
    remove(address: string): void;
    whenIdle(): Promise<void>;
  };
  readonly policy: {
    refresh(): Promise<void>;
    waitForRuleSet(identity: number, pod: string, timeoutMs: number): Promise<boolean>;
    waitForIdentity(identity: number, timeoutMs: number): Promise<boolean>;
  };
  readonly raiseEpoch: () => void;
  readonly logger: Logger;
}

export interface AddRequest {
  readonly containerId: string;
  readonly interfaceName: string;
  readonly netns: string;
  readonly namespace: string;
  readonly podName: string;
  readonly podUid: string;
}

/** `namespace/name`; of the host the node's name. */
const podOf = (row: { readonly namespace: string; readonly podName: string }): string =>
  row.namespace === '' ? row.podName : `${row.namespace}/${row.podName}`;

export class EndpointManager implements PolicyEndpoints {
  readonly #ports: ManagerPorts;
  readonly #busy = new Map<string, Promise<unknown>>();
  readonly #moving = new Set<number>();
  #nextId = 1 + Math.floor(Math.random() * 1024);

  constructor(ports: ManagerPorts) {
    this.#ports = ports;
    ports.identities.onChange(() => this.#followIdentities());
  }

  #newId(): number {
    for (let tried = 0; tried < ID_MAX; tried++) {
      const id = this.#nextId;
      this.#nextId = id >= ID_MAX ? 1 : id + 1;
      if (this.#ports.table.get(String(id)) === undefined) return id;
    }
    throw new AppError('no-endpoint-id', `all ${ID_MAX} endpoint ids are in use`);
  }

  find(containerId: string, interfaceName: string): EndpointRow | undefined {
    return this.#ports.table
      .find('container', containerId)
      .find((row) => row.interfaceName === interfaceName);
  }

  /** One operation per attachment at a time. */
  async #alone<T>(key: string, work: () => Promise<T>): Promise<T> {
    while (this.#busy.has(key)) await this.#busy.get(key)!.catch(() => undefined);
    const running = work();
    this.#busy.set(key, running);
    try {
      return await running;
    } finally {
      this.#busy.delete(key);
    }
  }

  /** @throws AppError, NetlinkError, SystemError; what was made is undone */
  add(request: AddRequest): Promise<EndpointRow> {
    return this.#alone(`${request.containerId}:${request.interfaceName}`, async () => {
      const old = this.find(request.containerId, request.interfaceName);
      if (old) await this.#remove(old);
      return this.#create(request);
    });
  }

  async #create(request: AddRequest): Promise<EndpointRow> {
    const { ipam, network, identities, table, maps, logger } = this.#ports;
    const owner = `${podOf(request)}:${request.containerId}`;
    const identity = identities.resolve(request.namespace, request.podName, WAIT_MS);
    const addresses = ipam.allocate(owner);
    const pod = { ...request, ...addresses };
    const hostDevice = hostDeviceName(request.containerId, request.interfaceName);
    let row: EndpointRow | undefined;
    try {
      const created = await network.createPair(pod);
      row = this.#newRow(pod, created);
      table.upsert(String(row.id), row);
      // Rows before programs: nothing runs without them. Rule set 0 denies everything.
      maps.endpoints.set({ ifindex: row.ifindex }, endpointValue(row));
      await Promise.all([
        network.configurePod(pod, created),
        network.configureHost(pod, created),
        this.#ports.hooks.attach({ name: hostDevice, ifindex: created.ifindex }),
        identity.then((facts) => this.#adopt(row!.id, facts)),
      ]);
      row = table.get(String(row.id)) ?? row;
      writeDelivery(maps, row);
      // Open flows remember behind which device an address lives, for one epoch.
      this.#ports.raiseEpoch();
      await this.#ports.ipcache.whenIdle();
      await this.#ports.state.write(row);
      logger.info(
        {
          endpoint: row.id,
          pod: podOf(row),
          identity: row.identity,
          ipv4: row.ipv4,
          ipv6: row.ipv6,
          ruleSet: row.ruleSet,
        },
        'endpoint created',
      );
      return row;
    } catch (error) {
      await identity.catch(() => undefined);
      await this.#undo(row, hostDevice, addresses, owner);
      throw error;
    }
  }

  async #undo(
    row: EndpointRow | undefined,
    hostDevice: string,
    addresses: { ipv4: string; ipv6: string },
    owner: string,
  ): Promise<void> {
    const { ipam, network, logger } = this.#ports;
    try {
      if (row) await this.#remove(row);
      else await network.remove(hostDevice);
    } catch (error) {
      logger.warn({ device: hostDevice, error: errorMessage(error) }, 'cannot undo a failed attachment');
    }
    for (const address of [addresses.ipv4, addresses.ipv6]) ipam.release(address, owner);
  }

  #newRow(
    pod: AddRequest & { ipv4: string; ipv6: string },
    created: { hostDevice: string; ifindex: number; mac: string; hostMac: string },
  ): EndpointRow {
    const row: EndpointRow = {
      id: this.#newId(),
      containerId: pod.containerId,
      interfaceName: pod.interfaceName,
      netns: pod.netns,
      namespace: pod.namespace,
      podName: pod.podName,
      podUid: pod.podUid,
      ...created,
      ipv4: pod.ipv4,
      ipv6: pod.ipv6,
      identity: 5,
      labels: ['reserved:init'],
      ruleSet: 0,
      ruleSetId: '',
      policyRevision: 0,
      state: 'waiting-for-identity',
      namedPorts: [],
      policyError: undefined,
      log: [],
      createdAt: new Date().toISOString(),
    };
    return inState(row, 'waiting-for-identity', 'created by CNI ADD');
  }

  /**
   * The node as an endpoint, for the host firewall; before restore. What an earlier run enforced stays in force; a node that
   * never had a rule set gets its row in the kernel with the first one, since without any it could not reach the API server.
   */
  addHost(node: string): void {
    const { table, maps } = this.#ports;
    const kept = maps.endpoints.get({ ifindex: 0 });
    const none = { netns: '', mac: NO_MAC, hostMac: NO_MAC, ipv4: '', ipv6: '', ifindex: 0, hostDevice: '' };
    const pod = { containerId: '', interfaceName: '', namespace: '', podName: node, podUid: '' };
    const row = this.#newRow({ ...pod, ...none }, none);
    const host = { ...row, identity: IDENTITY_HOST, labels: ['reserved:host'] };
    table.upsert(
      String(host.id),
      inState({ ...host, ruleSet: kept?.ruleSet ?? 0 }, 'ready', 'host firewall'),
    );
  }

  /** Gives an endpoint its identity, waits for its rule set and has it written. */
  async #adopt(id: number, found: PodFacts): Promise<void> {
    const { table, ipcache, policy, maps } = this.#ports;
    const row = table.get(String(id));
    if (!row) return;
    // An identity that other pods' policy does not know yet must not be anybody's.
    const known = !found.resolved || (await policy.waitForIdentity(found.identity, WAIT_MS));
    const facts = known ? found : { ...found, ...UNRESOLVED_IDENTITY };
    const state = facts.resolved ? 'ready' : 'waiting-for-identity';
    const message = facts.resolved ? `identity ${facts.identity}` : 'no identity yet: everything is denied';
    await policy.waitForRuleSet(facts.identity, podOf(row), facts.resolved ? WAIT_MS : 0);
    const current = table.get(String(id));
    if (!current || current.state === 'disconnecting') return;
    const changed: EndpointRow = {
      ...current,
      identity: facts.identity,
      labels: facts.labels,
      namedPorts: facts.namedPorts,
      podUid: facts.uid || current.podUid,
      // The old identity's rule set must not judge the new one.
      ...(facts.identity === current.identity ? {} : { ruleSet: 0, ruleSetId: '' }),
    };
    table.upsert(String(id), inState(changed, state, message));
    for (const address of addressesOf(changed)) ipcache.upsert(address, facts.identity);
    await policy.refresh();
    const flipped = table.get(String(id));
    if (flipped) maps.endpoints.set({ ifindex: flipped.ifindex }, endpointValue(flipped));
    this.#ports.raiseEpoch();
  }

  #followIdentities(): void {
    for (const row of this.#ports.table.values()) {
      if (row.state === 'disconnecting' || this.#moving.has(row.id)) continue;
      const facts = this.#ports.identities.lookup(row.namespace, row.podName);
      if (!facts.resolved || facts.identity === row.identity) continue;
      this.#moving.add(row.id);
      void this.#move(row.id, facts);
    }
  }

  async #move(id: number, facts: PodFacts): Promise<void> {
    try {
      await this.#adopt(id, facts);
      const row = this.#ports.table.get(String(id));
      if (row) await this.#ports.state.write(row);
      this.#ports.logger.info({ endpoint: id, identity: facts.identity }, 'endpoint identity changed');
    } catch (error) {
      this.#ports.logger.error({ endpoint: id, error: errorMessage(error) }, 'cannot change the identity');
    } finally {
      this.#moving.delete(id);
    }
  }

  /** Whether what policy would drop passes as audited; kept over restarts. */
  async setAudit(id: number, audit: boolean): Promise<void> {
    const { table, maps, state, logger } = this.#ports;
    const row = table.get(String(id));
    if (!row) throw new AppError('endpoint-not-found', `no endpoint ${id} on this node`);
    const changed = inState({ ...row, audit }, row.state, `policy audit mode ${audit ? 'on' : 'off'}`);
    table.upsert(String(id), changed);
    maps.endpoints.set({ ifindex: changed.ifindex }, endpointValue(changed));
    this.#ports.raiseEpoch();
    if (!isHost(changed)) await state.write(changed);
    logger.info({ endpoint: id, audit }, 'policy audit mode');
  }

  needed(): { identity: number; pod: string; ruleSetId: string }[] {
    return [...this.#ports.table.values()].map((row) => ({
      identity: row.identity,
      pod: podOf(row),
      ruleSetId: row.ruleSetId,
    }));
  }

  numbers(): ReadonlySet<number> {
    return new Set([...this.#ports.table.values()].map((row) => row.ruleSet));
  }

  flip(
    assign: (identity: number, pod: string) => Assignment | undefined,
    at: PolicyRevision | undefined,
  ): void {
    const { table, maps, state } = this.#ports;
    table.transaction(() => {
      for (const row of [...table.values()]) {
        const assignment = assign(row.identity, podOf(row));
        // None: the one in force stays. A fresh endpoint has 0, which denies.
        const policyError = at === undefined ? 'the newest policy could not be realised' : undefined;
        const revision = at?.revision ?? row.policyRevision;
        const same = !assignment || assignment.number === row.ruleSet;
        if (same && row.policyRevision === revision && row.policyError === policyError) continue;
        const changed: EndpointRow = {
          ...row,
          policyRevision: revision,
          policyError,
          ...(assignment ? { ruleSet: assignment.number, ruleSetId: assignment.ruleSetId } : {}),
        };
        if (!same) maps.endpoints.set({ ifindex: row.ifindex }, endpointValue(changed));
        const done = same
          ? changed
          : inState(changed, row.state, `rule set ${changed.ruleSet}, revision ${revision}`);
        table.upsert(String(row.id), done);
        if (!same && row.state !== 'waiting-for-identity' && !isHost(row)) void state.write(done);
      }
    });
  }

  /** Never fails for what is gone already. */
  async delete(containerId: string, interfaceName: string): Promise<void> {
    await this.#alone(`${containerId}:${interfaceName}`, async () => {
      const rows = this.#ports.table.find('container', containerId);
      const wanted = rows.filter((row) => interfaceName === '' || row.interfaceName === interfaceName);
      for (const row of wanted) await this.#remove(row);
      if (wanted.length === 0 && interfaceName !== '') {
        await this.#ports.network.remove(hostDeviceName(containerId, interfaceName));
      }
    });
  }

  async #remove(row: EndpointRow): Promise<void> {
    const { table, maps, network, state, ipam, ipcache, logger } = this.#ports;
    table.upsert(String(row.id), inState(row, 'disconnecting', 'deleted'));
    for (const address of addressesOf(row)) ipcache.remove(address);
    removeRows(maps, row);
    await this.#ports.hooks.detach(row.hostDevice);
    await network.remove(row.hostDevice);
    await state.remove(row.id);
    const owner = `${podOf(row)}:${row.containerId}`;
    for (const address of addressesOf(row)) ipam.release(address, owner);
    table.delete(String(row.id));
    this.#ports.raiseEpoch();
    logger.info({ endpoint: row.id, pod: podOf(row) }, 'endpoint deleted');
  }

  /** Endpoints of an earlier run: the pod is not touched, programs are replaced in their links. */
  async restore(devices: ReadonlyMap<string, number>): Promise<number> {
    let restored = 0;
    const rows = this.#ports.state.readAll();
    await Promise.all(
      rows.map(async (row) => {
        try {
          if (await this.#restoreOne(row, devices)) restored++;
        } catch (error) {
          this.#ports.logger.error(
            { endpoint: row.id, error: errorMessage(error) },
            'cannot restore endpoint',
          );
        }
      }),
    );
    await this.#pruneRows();
    return restored;
  }

  async #restoreOne(row: EndpointRow, devices: ReadonlyMap<string, number>): Promise<boolean> {
    const { table, maps, ipam, logger } = this.#ports;
    const ifindex = devices.get(row.hostDevice);
    const owner = `${podOf(row)}:${row.containerId}`;
    if (ifindex === undefined || !addressesOf(row).every((address) => ipam.claim(address, owner))) {
      logger.warn(
        { endpoint: row.id, pod: podOf(row), device: row.hostDevice },
        'endpoint is gone, forgetting it',
      );
      await this.#ports.state.remove(row.id);
      removeRows(maps, row);
      return false;
    }
    const restored = inState({ ...row, ifindex }, row.state, 'restored');
    table.upsert(String(row.id), restored);
    maps.endpoints.set({ ifindex }, endpointValue(restored));
    writeDelivery(maps, restored);
    for (const address of addressesOf(row)) this.#ports.ipcache.upsert(address, row.identity);
    await this.#ports.hooks.restore({ name: row.hostDevice, ifindex });
    return true;
  }

  /** Rows of pods that nobody knows any more. */
  async #pruneRows(): Promise<void> {
    const { table, maps } = this.#ports;
    const known = [...table.values()];
    const ifindexes = new Set(known.map((row) => row.ifindex));
    const addresses = new Set(known.flatMap(addressesOf));
    for (const [key] of await maps.endpoints.entries())
      if (!ifindexes.has(key.ifindex)) maps.endpoints.delete(key);
    for (const [key, value] of await maps.lxc.entries()) {
      if (value.ifindex !== 0 && !addresses.has(key.addr)) maps.lxc.delete(key);
    }
  }

  /** Deletes attachments that the runtime does not list (CNI GC). */
  async collect(valid: ReadonlySet<string>): Promise<void> {
    for (const row of [...this.#ports.table.values()]) {
      if (!isHost(row) && !valid.has(`${row.containerId}:${row.interfaceName}`))
        await this.delete(row.containerId, row.interfaceName);
    }
  }
}
