// SPDX-License-Identifier: Apache-2.0
import { request, type RequestOptions } from 'node:http';
import { AppError } from '@cilium-ts/base';
import type { ErrorModel } from '@cilium-ts/agent-api';

const TIMEOUT_MS = 30_000;

export function socketPath(): string {
  const configured = process.env['CILIUM_SOCK']?.replace(/^unix:\/\//, '');
  return configured ?? '/var/run/cilium/cilium.sock';
}

function unreachable(error: NodeJS.ErrnoException): AppError {
  const path = socketPath();
  return new AppError(
    'agent-unreachable',
    `cannot ask the agent on ${path}: ${error.code ?? error.message}. Is cilium-agent running on this node? (CILIUM_SOCK names another socket)`,
  );
}

/** @throws AppError with the agent's code and message, or `no-json` where something else listens there */
function readAnswer<T>(status: number, text: string): T {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new AppError(
      'no-json',
      `status ${status} from ${socketPath()} is not JSON: ${JSON.stringify(text.slice(0, 80))}`,
    );
  }
  if (status < 300) return answer as T;
  const { code, message } = answer as Partial<ErrorModel>;
  throw new AppError(code ?? 'agent-error', message ?? `the agent answered with status ${status}`);
}

/** GET of a path below /v1. @throws AppError `agent-unreachable`, or the agent's own code and message */
export function ask<T>(path: string, timeoutMs = TIMEOUT_MS): Promise<T> {
  return exchange<T>({ path: `/v1${path}`, timeout: timeoutMs });
}

/** PATCH of a path below /v1 with a JSON body. @throws like ask */
export function change<T>(path: string, body: unknown): Promise<T> {
  return send<T>('PATCH', path, body);
}

/** POST to a path below /v1 with a JSON body. @throws like ask */
export function post<T>(path: string, body: unknown): Promise<T> {
  return send<T>('POST', path, body);
}

function send<T>(method: string, path: string, body: unknown): Promise<T> {
  const headers = { 'content-type': 'application/json' };
  const options = { path: `/v1${path}`, method, headers, timeout: TIMEOUT_MS };
  return exchange<T>(options, JSON.stringify(body));
}

function exchange<T>(options: RequestOptions, body?: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: socketPath(), ...options }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve(readAnswer<T>(response.statusCode ?? 500, Buffer.concat(chunks).toString('utf8')));
        } catch (error) {
          reject(error as Error);
        }
      });
    });
    call.on('timeout', () =>
      call.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })),
    );
    call.on('error', (error) => reject(unreachable(error)));
    call.end(body);
  });
}

/** Lines of a stream until `signal` fires. @throws AppError `agent-unreachable`, or `agent-gone` when it ends by itself */
export function follow(path: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: socketPath(), path: `/v1${path}`, signal }, (response) => {
      let rest = '';
      const gone = (): void =>
        signal.aborted
          ? resolve()
          : reject(new AppError('agent-gone', `the agent closed the stream on ${socketPath()}`));
      response.setEncoding('utf8');
      if ((response.statusCode ?? 500) >= 300) {
        response.resume();
        reject(new AppError('agent-error', `the agent answered ${path} with status ${response.statusCode}`));
        return;
      }
      response.on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        lines.forEach(onLine);
      });
      response.on('end', gone);
      response.on('error', gone);
    });
    call.on('error', (error: NodeJS.ErrnoException) =>
      signal.aborted ? resolve() : reject(unreachable(error)),
    );
    call.end();
  });
}
