// SPDX-License-Identifier: Apache-2.0
// Tested: log lines, Prometheus text and OTLP export. How: real registry, and a local HTTP server as collector.
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { createLogger, createMetrics, injectTrace, startTracing, withSpan } from './index.ts';

describe('logs', () => {
  test('a line is JSON with component, level, time and fields', () => {
    const lines: string[] = [];
    const log = createLogger({ component: 'agent', level: 'info', write: (line) => lines.push(line) });
    log.debug({}, 'unseen');
    log.child({ part: 'hubble' }).warn({ peers: 2, error: new Error('no') }, 'peers changed');
    expect(lines).toHaveLength(1);
    const line = JSON.parse(lines[0]!) as Record<string, unknown>;
    expect(line).toMatchObject({
      component: 'agent',
      part: 'hubble',
      level: 'warn',
      peers: 2,
      message: 'peers changed',
    });
    expect(line['error']).toMatchObject({ message: 'no' });
    expect(Date.parse(line['time'] as string)).toBeGreaterThan(0);
  });
});

describe('metrics', () => {
  test('the text holds counters, gauges, histograms and observed values', async () => {
    const metrics = createMetrics();
    const drops = metrics.counter('cilium_drop_count_total', 'Dropped packets');
    drops.add(2, { reason: 'Policy denied', direction: 'EGRESS' });
    drops.add(1, { reason: 'Policy denied', direction: 'EGRESS' });
    metrics.gauge('cilium_endpoint', 'Endpoints').set(4);
    metrics.histogram('cilium_wait_seconds', 'Waits', [1, 2]).record(1.5);
    metrics.observe('cilium_forward_count_total', 'Forwarded', 'counter', (report) =>
      report(7, { direction: 'INGRESS' }),
    );
    const text = await metrics.text();
    expect(text).toContain('# TYPE cilium_drop_count_total counter');
    expect(text).toContain('cilium_drop_count_total{reason="Policy denied",direction="EGRESS"} 3\n');
    expect(text).toContain('cilium_endpoint 4\n');
    expect(text).toContain('cilium_wait_seconds_bucket{le="2"} 1\n');
    expect(text).toContain('cilium_forward_count_total{direction="INGRESS"} 7\n');
    await metrics.stop();
  });
});

describe('traces', () => {
  test('without an endpoint a span is free and the result passes', async () => {
    const tracing = await startTracing({ service: 'test', environment: {} });
    await expect(withSpan('work', {}, () => 3)).resolves.toBe(3);
    expect(injectTrace()).toEqual({});
    await tracing.stop();
  });

  test('with an endpoint spans reach the collector, parents survive await and processes', async () => {
    const bodies: Buffer[] = [];
    const server = createServer((request, response) => {
      request.on('data', (part: Buffer) => bodies.push(part));
      request.on('end', () => response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { carrier, child } = await runTraced(endpoint);
    await new Promise((resolve) => server.close(resolve));
    expect(carrier).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(child.slice(0, 35)).toBe(carrier.slice(0, 35));
    const sent = Buffer.concat(bodies).toString('latin1');
    for (const name of ['outer-span', 'inner-span', 'bad-span', 'broken']) expect(sent).toContain(name);
  });
});

// A process of its own: the exporter imports modules dynamically, which Jest's sandbox refuses.
const TRACED = `
import { injectTrace, startTracing, withRemoteTrace, withSpan } from '@cilium-ts/telemetry';
const tracing = await startTracing({ service: 'test' });
let carrier = {};
let child = {};
await withSpan('outer-span', {}, async () => {
  await Promise.resolve();
  carrier = injectTrace();
});
await withRemoteTrace(carrier, () => withSpan('inner-span', {}, () => void (child = injectTrace())));
await withSpan('bad-span', {}, () => Promise.reject(new Error('broken'))).catch(() => undefined);
await tracing.stop();
console.log(JSON.stringify({ carrier: carrier.traceparent, child: child.traceparent }));
`;

async function runTraced(endpoint: string): Promise<{ carrier: string; child: string }> {
  const args = ['--conditions=@cilium-ts/source', '--input-type=module', '-e', TRACED];
  const env = { ...process.env, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint };
  const { stdout } = await promisify(execFile)(process.execPath, args, { env, cwd: process.cwd() });
  return JSON.parse(stdout) as { carrier: string; child: string };
}
