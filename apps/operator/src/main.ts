// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from '@cilium-ts/base';
import { createLogger } from '@cilium-ts/telemetry';
import { runOperator } from './operator.ts';
import { operatorConfig } from './operator-config.ts';

async function main(): Promise<void> {
  const config = operatorConfig(process.argv.slice(2), process.env);
  const log = createLogger({ component: 'operator', level: config.logLevel });
  const operator = await runOperator(config, log);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => void Promise.resolve(operator.stop()).finally(() => process.exit(0)));
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`cilium-operator: ${errorMessage(error)}\n`);
  process.exit(1);
});
