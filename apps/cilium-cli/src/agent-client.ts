// SPDX-License-Identifier: Apache-2.0
import { request } from 'node:http';
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

/** GET of a path below /v1. @throws AppError `agent-unreachable`, or the agent's own code and message */
export function ask<T>(path: string, timeoutMs = TIMEOUT_MS): Promise<T> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: socketPath(), path: `/v1${path}`, timeout: timeoutMs }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        if ((response.statusCode ?? 500) < 300) return resolve(JSON.parse(text) as T);
        const { code, message } = JSON.parse(text) as ErrorModel;
        reject(new AppError(code, message));
      });
    });
    call.on('timeout', () => call.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })));
    call.on('error', (error) => reject(unreachable(error)));
    call.end();
  });
}

/** Lines of a stream until it ends or `signal` fires. */
export function follow(path: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: socketPath(), path: `/v1${path}`, signal }, (response) => {
      let rest = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        lines.forEach(onLine);
      });
      response.on('end', resolve);
      response.on('error', () => resolve());
    });
    call.on('error', (error: NodeJS.ErrnoException) => (signal.aborted ? resolve() : reject(unreachable(error))));
    call.end();
  });
}
