// SPDX-License-Identifier: Apache-2.0
// cilium-agent --config-dir=DIR [--key=value]
import { AppError, errorMessage } from '@cilium-ts/base';
import { parseCommandLine, readConfigDirectory } from '@cilium-ts/config';
import { assemble } from './assemble.ts';
import { parseConfig } from './config.ts';
import { VERSION } from './version.ts';

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes('--version')) {
    process.stdout.write(`cilium-agent ${VERSION}\n`);
    return;
  }
  const { configDirectory, flags } = parseCommandLine(args);
  const files = configDirectory === undefined ? {} : readConfigDirectory(configDirectory);
  const config = parseConfig({ ...files, ...flags });
  const starting = assemble(config);
  let stopping = false;
  const stop = (): void => {
    if (stopping) process.exit(1);
    stopping = true;
    // What is in the kernel stays: traffic and enforcement go on without us.
    const exit = (): void => process.exit(0);
    setTimeout(exit, 3000).unref();
    starting.then((agent) => agent.stop()).then(exit, exit);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  await starting;
}

main().catch((error: unknown) => {
  const code = error instanceof AppError ? ` (${error.code})` : '';
  process.stderr.write(`cilium-agent: ${errorMessage(error)}${code}\n`);
  process.exit(1);
});
