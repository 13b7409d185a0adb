// SPDX-License-Identifier: Apache-2.0
import { hostname } from 'node:os';
import { Lifecycle, errorMessage, systemClock } from '@cilium-ts/base';
import { KubeClient, LeaderElector, loadKubeConfig } from '@cilium-ts/kube';
import { createLogger, createMetrics, serveHealth, startTracing } from '@cilium-ts/telemetry';
import { Compiler } from './compiler.ts';
import { compilerConfig } from './compiler-config.ts';
import { registerMetrics } from './compiler-metrics.ts';
import { PolicyService } from './policy-service.ts';

async function main(): Promise<void> {
  const config = compilerConfig(process.argv.slice(2), process.env, hostname());
  const { candidate, cluster, mode, allowLocalhost, hostFirewall, natsService, natsUrl, namespace } = config;
  const engine = { cluster, mode, allowLocalhost, hostFirewall };
  const log = createLogger({ component: 'policy-compiler', level: config.logLevel });
  const life = new Lifecycle();
  life.add(await startTracing({ service: 'cilium-policy-compiler' }));
  const client = new KubeClient(await loadKubeConfig({ file: config.kubeConfig }));
  life.onStop(() => client.close());
  const compiler = life.add(
    new Compiler({ client, clock: systemClock, log, name: candidate, engine, natsService, natsUrl }),
  );
  const metrics = life.add(createMetrics());
  registerMetrics(metrics, compiler);
  const health = (): string | undefined => (compiler.ready ? undefined : 'inputs not listed yet');
  if (config.healthAddress) life.add(await serveHealth(config.healthAddress, health, metrics));
  const service = life.add(new PolicyService(compiler, log));
  await service.start(config.grpcAddress);
  life.add(
    new LeaderElector({
      client,
      namespace,
      name: 'cilium-policy-compiler',
      identity: candidate,
      leaseMs: 6000,
      renewDeadlineMs: 4000,
      retryMs: 1000,
      onStarted: () => compiler.setLeading(true),
      onStopped: () => compiler.setLeading(false),
      log,
    }).start(),
  );
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      setTimeout(() => process.exit(1), 3000).unref();
      void life.stop().then(() => process.exit(0));
    });
  }
  await compiler.start();
  log.info({ candidate }, 'compiling policy');
}

main().catch((error: unknown) => {
  process.stderr.write(`cilium-policy-compiler: ${errorMessage(error)}\n`);
  process.exit(1);
});
