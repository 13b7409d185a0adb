// SPDX-License-Identifier: Apache-2.0
import { runCommand } from './command.ts';
import { BENCHES } from './registry.ts';

process.exitCode = await runCommand(process.argv.slice(2), BENCHES, {
  out: (text) => console.log(text),
  error: (text) => console.error(text),
});
