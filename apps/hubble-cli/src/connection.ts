// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { RpcClient } from '@cilium-ts/rpc';
import { parseDuration, usage, type Flags } from './arguments.ts';

const SOCKET = '/var/run/cilium/hubble.sock';

/** The flag, HUBBLE_SERVER, this node's agent, or a relay on this machine. */
export function serverAddress(
  flags: Flags,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  const given = flags.text('server') || environment['HUBBLE_SERVER'];
  if (given) return given;
  return existsSync(SOCKET) ? `unix://${SOCKET}` : 'localhost:4245';
}

export function durationFlag(flags: Flags, name: string, fallbackMs: number): number {
  const text = flags.text(name);
  if (text === undefined) return fallbackMs;
  const ms = parseDuration(text);
  if (ms === undefined)
    throw usage(`invalid value ${JSON.stringify(text)} for --${name}: a duration such as 5s`);
  return ms;
}

/** @throws AppError `unreachable` */
export async function connect(flags: Flags): Promise<RpcClient> {
  const client = new RpcClient(serverAddress(flags, process.env));
  try {
    await client.waitReady(durationFlag(flags, 'timeout', 5000));
  } catch (error) {
    client.close();
    throw error;
  }
  return client;
}

export const requestTimeout = (flags: Flags): number => durationFlag(flags, 'request-timeout', 12_000);
