// SPDX-License-Identifier: Apache-2.0
// The agent's side of the CNI binary: environment and configuration in, result or error object out.
import { AppError, errorMessage, type Logger } from '@cilium-ts/base';
import { isErrno, type Netlink } from '@cilium-ts/netlink';
import { withSpan } from '@cilium-ts/telemetry';
import type { EndpointRow } from '../rows.ts';
import type { EndpointManager } from './manager.ts';

export interface CniCall {
  readonly env: Readonly<Record<string, string>>;
  /** Standard input of the binary. */
  readonly config: string;
}

export interface CniAnswer {
  readonly status: number;
  /** Printed by the binary; empty where the command prints nothing. */
  readonly body: string;
}

interface CniConfig {
  readonly cniVersion?: string;
  readonly prevResult?: { readonly ips?: readonly { readonly address: string }[] };
  readonly 'cni.dev/valid-attachments'?: readonly { readonly containerID: string; readonly ifname: string }[];
}

const CODES = {
  invalidEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  badConfig: 7,
  tryAgain: 11,
  failed: 100,
  unhealthy: 101,
};

export interface CniServices {
  readonly endpoints: EndpointManager;
  readonly netlink: Netlink;
  readonly gateway: (address: string) => string | undefined;
  readonly mtu: number;
  readonly logger: Logger;
}

class CniError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

function parseArguments(text: string): Map<string, string> {
  const pairs = text.split(';').filter((part) => part.includes('='));
  return new Map(pairs.map((part) => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)]));
}

function required(env: CniCall['env'], name: string): string {
  const value = env[name];
  if (!value) throw new CniError(CODES.invalidEnvironment, `${name} is not set`);
  return value;
}

function parseCniConfig(text: string): CniConfig {
  try {
    const config = JSON.parse(text) as unknown;
    if (typeof config === 'object' && config !== null && !Array.isArray(config)) return config as CniConfig;
  } catch (error) {
    throw new CniError(
      CODES.decodingFailure,
      `the network configuration is not JSON: ${errorMessage(error)}`,
    );
  }
  throw new CniError(CODES.badConfig, 'the network configuration is not a JSON object');
}

export class CniServer {
  readonly #services: CniServices;

  constructor(services: CniServices) {
    this.#services = services;
  }

  async handle(call: CniCall): Promise<CniAnswer> {
    const command = call.env['CNI_COMMAND'] ?? '';
    const started = performance.now();
    let version = '1.1.0';
    try {
      const config = parseCniConfig(call.config);
      version = config.cniVersion ?? version;
      const attributes = { 'cni.command': command, 'cni.args': call.env['CNI_ARGS'] ?? '' };
      const result = await withSpan(`cni ${command}`, attributes, () => this.#run(command, call, config));
      const ms = Math.round((performance.now() - started) * 10) / 10;
      this.#services.logger.info(
        { command, container: call.env['CNI_CONTAINERID'], args: call.env['CNI_ARGS'], ms },
        'CNI',
      );
      return { status: 200, body: result === undefined ? '' : `${JSON.stringify(result)}\n` };
    } catch (error) {
      const code = error instanceof CniError ? error.code : CODES.failed;
      const message = errorMessage(error);
      this.#services.logger.error(
        { command, container: call.env['CNI_CONTAINERID'], code, error: message },
        'CNI failed',
      );
      const details = error instanceof AppError ? error.code : '';
      return {
        status: 500,
        body: `${JSON.stringify({ cniVersion: version, code, msg: message, details })}\n`,
      };
    }
  }

  #run(command: string, call: CniCall, config: CniConfig): Promise<unknown> {
    switch (command) {
      case 'ADD':
        return this.#add(call.env, config);
      case 'DEL':
        return this.#delete(call.env);
      case 'CHECK':
        return this.#check(call.env, config);
      case 'GC':
        return this.#collect(config);
      case 'STATUS':
        return Promise.resolve(undefined);
      default:
        throw new CniError(CODES.invalidEnvironment, `unknown CNI_COMMAND ${JSON.stringify(command)}`);
    }
  }

  async #add(env: CniCall['env'], config: CniConfig): Promise<unknown> {
    if (config.prevResult)
      throw new CniError(CODES.badConfig, 'chaining after another plugin is not supported');
    const args = parseArguments(env['CNI_ARGS'] ?? '');
    const row = await this.#services.endpoints.add({
      containerId: required(env, 'CNI_CONTAINERID'),
      interfaceName: required(env, 'CNI_IFNAME'),
      netns: required(env, 'CNI_NETNS'),
      namespace: args.get('K8S_POD_NAMESPACE') ?? '',
      podName: args.get('K8S_POD_NAME') ?? '',
      podUid: args.get('K8S_POD_UID') ?? '',
    });
    return this.#result(row, config.cniVersion ?? '1.1.0');
  }

  #result(row: EndpointRow, cniVersion: string): unknown {
    const old = cniVersion.startsWith('0.');
    const addresses = [row.ipv4, row.ipv6].filter((address) => address !== '');
    const isV6 = (address: string): boolean => address.includes(':');
    const { mtu } = this.#services;
    const ips = addresses.map((address) => ({
      ...(old ? { version: isV6(address) ? '6' : '4' } : {}),
      address: `${address}/${isV6(address) ? 128 : 32}`,
      gateway: this.#services.gateway(address),
      interface: 1,
    }));
    const routes = addresses.flatMap((address) => {
      const gateway = this.#services.gateway(address);
      const hostRoute = { dst: `${gateway}/${isV6(address) ? 128 : 32}` };
      const everything = { dst: isV6(address) ? '::/0' : '0.0.0.0/0', gw: gateway };
      return [hostRoute, old ? everything : { ...everything, mtu }];
    });
    return {
      cniVersion,
      interfaces: [
        { name: row.hostDevice, mac: row.hostMac, ...(old ? {} : { mtu }) },
        { name: row.interfaceName, mac: row.mac, sandbox: row.netns, ...(old ? {} : { mtu }) },
      ],
      ips,
      routes,
      dns: {},
    };
  }

  async #delete(env: CniCall['env']): Promise<undefined> {
    await this.#services.endpoints.delete(required(env, 'CNI_CONTAINERID'), env['CNI_IFNAME'] ?? '');
    return undefined;
  }

  async #check(env: CniCall['env'], config: CniConfig): Promise<undefined> {
    const name = required(env, 'CNI_IFNAME');
    const row = this.#services.endpoints.find(required(env, 'CNI_CONTAINERID'), name);
    if (!row) throw new CniError(CODES.unhealthy, 'no endpoint for this attachment');
    let present: readonly { address: string }[];
    try {
      present = await this.#services.netlink.addresses(required(env, 'CNI_NETNS'));
    } catch (error) {
      if (isErrno(error, 'ENOENT'))
        throw new CniError(CODES.unhealthy, 'the network namespace does not exist');
      throw error;
    }
    const wanted = (config.prevResult?.ips ?? []).map((ip) => ip.address.replace(/\/\d+$/, ''));
    for (const address of [row.ipv4, row.ipv6, ...wanted]) {
      if (address === '' || present.some((found) => found.address === address)) continue;
      throw new CniError(CODES.unhealthy, `${name} has no address ${address}`);
    }
    return undefined;
  }

  async #collect(config: CniConfig): Promise<undefined> {
    const valid = config['cni.dev/valid-attachments'];
    if (!valid) throw new CniError(CODES.badConfig, 'GC needs cni.dev/valid-attachments');
    await this.#services.endpoints.collect(new Set(valid.map((one) => `${one.containerID}:${one.ifname}`)));
    return undefined;
  }
}
