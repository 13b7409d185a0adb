// SPDX-License-Identifier: Apache-2.0
// Tested: health, metrics and addresses of the services. How: a real server on a free port; addresses by cases.
import { createServer, type AddressInfo } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { createMetrics, parseListenAddress, serveHealth } from './index.ts';

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

describe('health and metrics', () => {
  test('trouble is 503 with its text, health 200, and other paths are named', async () => {
    const metrics = createMetrics();
    metrics.counter('things_total', 'Things').add(3);
    const port = await freePort();
    let trouble: string | undefined = 'still listing';
    const server = await serveHealth({ host: '127.0.0.1', port }, () => trouble, metrics);
    const get = async (path: string): Promise<[number, string]> => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`);
      return [response.status, await response.text()];
    };
    expect(await get('/healthz')).toEqual([503, 'still listing\n']);
    trouble = undefined;
    expect(await get('/healthz?x=1')).toEqual([200, 'ok\n']);
    expect((await get('/metrics'))[1]).toContain('things_total 3');
    expect((await get('/nothing'))[0]).toBe(404);
    await server.stop();
    await expect(get('/healthz')).rejects.toThrow();
    await metrics.stop();
  });

  test.each([
    ['', undefined],
    [':9962', { port: 9962 }],
    ['127.0.0.1:1', { host: '127.0.0.1', port: 1 }],
    ['[::1]:65535', { host: '::1', port: 65535 }],
  ])('%p is an address', (text, address) => expect(parseListenAddress('key', text)).toEqual(address));

  test.each(['9962', 'host', ':65536', ':x', '127.0.0.1:'])('%p is refused by key', (text) =>
    expect(() => parseListenAddress('some-key', text)).toThrow(/some-key.*HOST:PORT/),
  );
});
