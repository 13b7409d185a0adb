// SPDX-License-Identifier: Apache-2.0
// hubble-ui-backend [--listen=:8081] [--relay=HOST:PORT]
import { AppError, errorMessage } from '@cilium-ts/base';
import { createLogger, startTracing } from '@cilium-ts/telemetry';
import { FlowStore } from './flow-store.ts';
import { uiConfig } from './ui-config.ts';
import { startUiServer } from './ui-server.ts';

async function main(): Promise<void> {
  const config = uiConfig(process.argv.slice(2), process.env);
  const logger = createLogger({ component: 'hubble-ui-backend', level: config.logLevel });
  const tracing = await startTracing({ service: 'hubble-ui-backend' });
  const store = new FlowStore(config.relay, config.backfill, logger).start();
  const server = await startUiServer(store, config.host, config.port);
  logger.info({ port: server.port, relay: config.relay }, 'serving the UI');
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      const exit = (): void => process.exit(0);
      setTimeout(exit, 2000).unref();
      store.stop();
      Promise.all([server.stop(), tracing.stop()]).then(exit, exit);
    });
  }
}

main().catch((error: unknown) => {
  const code = error instanceof AppError ? ` (${error.code})` : '';
  process.stderr.write(`hubble-ui-backend: ${errorMessage(error)}${code}\n`);
  process.exit(1);
});
