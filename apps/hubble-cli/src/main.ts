// SPDX-License-Identifier: Apache-2.0
// hubble COMMAND [flags]
import { enableCompileCache } from 'node:module';
import { errorMessage } from '@cilium-ts/base';
import { run } from './commands.ts';

enableCompileCache();

// Somebody closed the pipe (`hubble observe | head`): not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

run(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`hubble: ${errorMessage(error)}\n`);
    process.exitCode = 1;
  },
);
