// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadCredentials, writeKubeconfig } from './credentials.ts';
import { ApiServer } from './server.ts';

const NAMES = [
  'localhost',
  'kubernetes',
  'kubernetes.default',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
  '127.0.0.1',
  '::1',
];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      listen: { type: 'string', default: '127.0.0.1:0' },
      'data-dir': { type: 'string' },
      'extra-san': { type: 'string', multiple: true, default: [] },
      'advertise-address': { type: 'string', default: '192.168.77.254' },
      'advertise-port': { type: 'string', default: '6443' },
      'service-address': { type: 'string', default: '10.96.0.1' },
    },
  });
  const directory = values['data-dir'];
  const listen = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(values.listen);
  if (!directory)
    throw new Error('--data-dir DIR is required: CA, certificates and kubeconfig are written there');
  if (!listen) throw new Error(`--listen wants ADDRESS:PORT (port 0: any free one), got ${values.listen}`);
  const host = listen[1] ?? listen[2]!;
  const serviceAddress = values['service-address'];
  const names = [
    ...new Set([...NAMES, host, serviceAddress, values['advertise-address'], ...values['extra-san']]),
  ];
  const credentials = loadCredentials(directory, names);
  const server = new ApiServer({
    credentials,
    advertiseAddress: values['advertise-address'],
    advertisePort: Number(values['advertise-port']),
    serviceAddress,
    report: (error) =>
      process.stderr.write(
        `apiserver: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
      ),
  });
  const port = await server.listen(host, Number(listen[3]));
  const shownHost =
    host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;
  writeKubeconfig(join(directory, 'kubeconfig'), `https://${shownHost}:${port}`, credentials);
  process.stdout.write(`${JSON.stringify({ port, ready: true })}\n`);
  const stop = (): void => void server.close().then(() => process.exit(0));
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

main().catch((error: unknown) => {
  process.stderr.write(`apiserver: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
