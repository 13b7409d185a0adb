// SPDX-License-Identifier: Apache-2.0
import { createSocket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { isAddress, addressFamily } from '@cilium-ts/net';

/** Milliseconds for one answer, and for which a silent server is left alone. */
const ANSWER_MS = 1500;
const REST_MS = 5000;

/** `nameserver` lines of a resolv.conf; the empty list where there is none. */
export async function readNameservers(path: string): Promise<string[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch {
    return [];
  }
  const found: string[] = [];
  for (const line of text.split('\n')) {
    const address = /^\s*nameserver\s+([^\s#;%]+)/.exec(line)?.[1];
    if (address && isAddress(address)) found.push(address);
  }
  return found;
}

/** Forwards whole messages; the first server that answers wins, silent ones rest for some seconds. */
export class Upstream {
  readonly #servers: readonly string[];
  readonly #port: number;
  readonly #restingUntil = new Map<string, number>();

  constructor(servers: readonly string[], port = 53) {
    this.#servers = servers;
    this.#port = port;
  }

  /** The answer with the query's id, or undefined where no server answers. */
  async forward(query: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    for (const server of this.#servers) {
      if ((this.#restingUntil.get(server) ?? 0) > performance.now()) continue;
      const answer = await (transport === 'udp' ? askUdp : askTcp)(server, this.#port, query);
      if (answer) return answer;
      this.#restingUntil.set(server, performance.now() + REST_MS);
    }
    return undefined;
  }
}

function askUdp(server: string, port: number, query: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    // A socket of its own for each question: the random port is part of the protection against forged answers.
    const socket = createSocket(addressFamily(server) === 6 ? 'udp6' : 'udp4');
    const finish = (answer: Buffer | undefined): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => finish(undefined), ANSWER_MS);
    socket.once('error', () => finish(undefined));
    socket.on('message', (message) => {
      if (message.length >= 12 && message.readUInt16BE(0) === query.readUInt16BE(0)) finish(message);
    });
    socket.connect(port, server, () => socket.send(query));
  });
}

function askTcp(server: string, port: number, query: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: server, port });
    let received = Buffer.alloc(0);
    const finish = (answer: Buffer | undefined): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => finish(undefined), ANSWER_MS);
    socket.on('error', () => finish(undefined));
    socket.on('close', () => finish(undefined));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        finish(received.subarray(2, 2 + received.readUInt16BE(0)));
      }
    });
    socket.write(Buffer.concat([Buffer.from([query.length >> 8, query.length & 0xff]), query]));
  });
}
