// SPDX-License-Identifier: Apache-2.0
// hubble-relay serve [--key=value]
import { AppError, errorMessage } from '@cilium-ts/base';
import { createLogger, startTracing } from '@cilium-ts/telemetry';
import { relayConfig } from './relay-config.ts';
import { startRelay, VERSION } from './relay.ts';

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  if (args[0] === 'version' || args[0] === '--version') {
    process.stdout.write(`hubble-relay v${VERSION}\n`);
    return;
  }
  const config = relayConfig(args, process.env);
  const logger = createLogger({ component: 'hubble-relay', level: config.logLevel });
  const tracing = await startTracing({ service: 'hubble-relay' });
  const relay = await startRelay(config, logger);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      const exit = (): void => process.exit(0);
      setTimeout(exit, 2000).unref();
      Promise.all([relay.stop(), tracing.stop()]).then(exit, exit);
    });
  }
}

main().catch((error: unknown) => {
  const code = error instanceof AppError ? ` (${error.code})` : '';
  process.stderr.write(`hubble-relay: ${errorMessage(error)}${code}\n`);
  process.exit(1);
});
