// SPDX-License-Identifier: Apache-2.0
// cilium, also named cilium-dbg: looks into the agent of this node.
import { enableCompileCache } from 'node:module';
import { AppError, errorMessage } from '@cilium-ts/base';
import { EXIT } from '@cilium-ts/terminal';
import { CommanderError } from 'commander';
import { buildProgram } from './program.ts';

enableCompileCache();
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // `cilium ... | head` closes early.
  process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failed);
});

async function main(): Promise<void> {
  try {
    await buildProgram().parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage);
    process.stderr.write(`Error: ${errorMessage(error)}\n`);
    process.exitCode = error instanceof AppError && error.code.startsWith('bad-') ? EXIT.usage : EXIT.failed;
  }
}

void main();
