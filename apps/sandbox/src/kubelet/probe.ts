// SPDX-License-Identifier: Apache-2.0
import { connect as connectHttp2 } from 'node:http2';
import { request as httpRequest } from 'node:http';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import type { Container } from '@cilium-ts/kube';

export type Probe = NonNullable<Container['livenessProbe']>;

/** What a probe may do to its pod, from the node's side. */
export interface ProbeTarget {
  readonly podIp: string;
  /** Number of a named container port. */
  port(wanted: number | string): number;
  dial(host: string, port: number, timeoutMs: number): Promise<Duplex>;
  probeTcp(host: string, port: number, timeoutMs: number): Promise<void>;
  /** Exit code and output of a command in the container. */
  exec(
    command: readonly string[],
    timeoutMs: number,
  ): Promise<{ readonly code: number; readonly output: string }>;
}

/** Undefined: success; else why it failed. Never rejects. */
export async function runProbe(probe: Probe, target: ProbeTarget): Promise<string | undefined> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
  try {
    if (probe.exec) return await probeExec(probe.exec.command ?? [], target, timeoutMs);
    if (probe.httpGet) return await probeHttp(probe.httpGet, target, timeoutMs);
    if (probe.tcpSocket) {
      const { host, port } = probe.tcpSocket;
      await target.probeTcp(host || target.podIp, target.port(port as number | string), timeoutMs);
      return undefined;
    }
    if (probe.grpc) return await probeGrpc(probe.grpc, target, timeoutMs);
    return 'the probe has no handler: set exec, httpGet, tcpSocket or grpc';
  } catch (error) {
    return (error as Error).message;
  }
}

async function probeExec(
  command: readonly string[],
  target: ProbeTarget,
  timeoutMs: number,
): Promise<string | undefined> {
  const { code, output } = await target.exec(command, timeoutMs);
  return code === 0 ? undefined : output.trim().slice(0, 1024) || `command exited with code ${code}`;
}

/** One GET from the node; also the handler of lifecycle hooks. */
export async function probeHttp(
  get: NonNullable<Probe['httpGet']>,
  target: ProbeTarget,
  timeoutMs: number,
): Promise<string | undefined> {
  const host = get.host || target.podIp;
  const port = target.port(get.port as number | string);
  const secure = get.scheme === 'HTTPS';
  const headers: Record<string, string> = {
    'user-agent': 'kube-probe/1.32',
    accept: '*/*',
    connection: 'close',
  };
  for (const { name, value } of get.httpHeaders ?? []) headers[name.toLowerCase()] = value;
  headers['host'] ??= `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const path = get.path ? (get.path.startsWith('/') ? get.path : `/${get.path}`) : '/';
  const began = performance.now();
  const raw = await target
    .dial(host, port, timeoutMs)
    .catch((error: Error) => Promise.reject(new Error(`Get "${path}": ${error.message}`)));
  const leftMs = Math.max(timeoutMs - (performance.now() - began), 1);
  return new Promise((resolve) => {
    const finish = (result: string | undefined): void => {
      clearTimeout(timer);
      raw.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => finish(`Get "${path}": no answer within ${timeoutMs} ms`), leftMs);
    raw.on('error', (error) => finish(`Get "${path}": ${error.message}`));
    const stream = secure ? connectTls({ socket: raw, rejectUnauthorized: false }) : raw;
    if (secure) stream.on('error', (error) => finish(`Get "${path}": ${error.message}`));
    const request = httpRequest(
      { method: 'GET', path, headers, createConnection: () => stream },
      (response) => {
        response.resume();
        const code = response.statusCode ?? 0;
        finish(code >= 200 && code < 400 ? undefined : `HTTP probe failed with statuscode: ${code}`);
      },
    );
    request.on('error', (error) => finish(`Get "${path}": ${error.message}`));
    request.end();
  });
}

function healthRequest(service: string): Buffer {
  const name = Buffer.from(service);
  const message = service ? Buffer.concat([Buffer.from([0x0a, name.length]), name]) : Buffer.alloc(0);
  return Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
}

/** grpc.health.v1.Health/Check; SERVING is field 1 with value 1. */
async function probeGrpc(
  grpc: { readonly port: number; readonly service?: string | undefined },
  target: ProbeTarget,
  timeoutMs: number,
): Promise<string | undefined> {
  const raw = await target.dial(target.podIp, grpc.port, timeoutMs);
  return new Promise((resolve) => {
    const session = connectHttp2('http://probe', { createConnection: () => raw });
    const finish = (result: string | undefined): void => {
      clearTimeout(timer);
      session.destroy();
      raw.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => finish(`gRPC health check: no answer within ${timeoutMs} ms`), timeoutMs);
    raw.on('error', (error) => finish(error.message));
    session.on('error', (error) => finish(error.message));
    const stream = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', (error: Error) => finish(error.message));
    stream.on('end', () => {
      const body = Buffer.concat(chunks);
      const serving = body.length >= 7 && body[5] === 0x08 && body[6] === 1;
      finish(serving ? undefined : 'gRPC health check: service is not serving');
    });
    stream.end(healthRequest(grpc.service ?? ''));
  });
}
