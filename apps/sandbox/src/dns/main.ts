// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { Lifecycle, errorMessage, type Logger } from '@cilium-ts/base';
import { KubeClient, loadKubeConfig } from '@cilium-ts/kube';
import { Responder } from './responder.ts';
import { startDnsServer, startProbe } from './server.ts';
import { Upstream, readNameservers } from './upstream.ts';
import { ClusterZone } from './zone-data.ts';
import { Zone } from './zone.ts';

const USAGE = `cluster-dns: answers names of Services and pods, forwards the rest

  --listen PORT           UDP and TCP port (default 53)
  --cluster-domain NAME   (default cluster.local)
  --resolv-conf FILE      upstream servers (default /etc/resolv.conf)
  --ready-port PORT       GET /ready (default 8181)
  --health-port PORT      GET /health (default 8080)
  --kubeconfig FILE       outside of a pod
`;

const OPTIONS = {
  listen: { type: 'string', default: '53' },
  'cluster-domain': { type: 'string', default: 'cluster.local' },
  'resolv-conf': { type: 'string', default: '/etc/resolv.conf' },
  'ready-port': { type: 'string', default: '8181' },
  'health-port': { type: 'string', default: '8080' },
  kubeconfig: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

function line(level: string, fields: object, message: string): void {
  process.stdout.write(
    `${JSON.stringify({ level, time: new Date().toISOString(), ...fields, msg: message })}\n`,
  );
}

const log: Logger = {
  debug: () => undefined,
  info: (fields, message) => line('info', fields, message),
  warn: (fields, message) => line('warn', fields, message),
  error: (fields, message) => line('error', fields, message),
};

function port(text: string, flag: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 65_535) {
    throw new Error(`--${flag} must be a port, 0 to 65535: ${JSON.stringify(text)}`);
  }
  return value;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const parts = new Lifecycle();
  const client = new KubeClient(await loadKubeConfig({ file: values.kubeconfig }));
  const zone = parts.add(new ClusterZone(client, log));
  zone.start();
  const servers = await readNameservers(values['resolv-conf']);
  const responder = new Responder(new Zone(values['cluster-domain'], zone), new Upstream(servers));
  const dns = parts.add(await startDnsServer(responder, port(values.listen, 'listen'), log));
  const ready = parts.add(
    await startProbe(port(values['ready-port'], 'ready-port'), '/ready', () => zone.ready),
  );
  const health = parts.add(
    await startProbe(port(values['health-port'], 'health-port'), '/health', () => true),
  );
  log.info({ port: dns.port, ready: ready.port, health: health.port, upstream: servers }, 'answering');
  const stop = (): void => {
    void parts.stop().finally(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

main().catch((error: unknown) => {
  process.stderr.write(`cluster-dns: ${errorMessage(error)}\n`);
  process.exit(1);
});
