// SPDX-License-Identifier: Apache-2.0
import { dirname, resolve } from 'node:path';
import { AppError } from '@cilium-ts/base';
import { start, startDetached, status, stop } from './cluster/commands.ts';
import { artifactsOf, MACHINE_LAYOUT } from './cluster/layout.ts';
import { parseCommand, USAGE } from './cluster/options.ts';
import { planCluster } from './cluster/plan.ts';

/** The bundle lies in ROOT/dist/apps; run from sources the root is the working directory. */
function findRoot(): string {
  const script = resolve(process.argv[1] ?? '');
  return script.endsWith('/dist/apps/sandbox.cjs') ? dirname(dirname(dirname(script))) : process.cwd();
}

async function main(argv: readonly string[]): Promise<number> {
  const command = parseCommand(argv);
  switch (command.name) {
    case 'help':
      console.log(USAGE);
      return 0;
    case 'stop':
      await stop(MACHINE_LAYOUT);
      return 0;
    case 'status':
      return status(MACHINE_LAYOUT);
    case 'start':
      planCluster(command.options.nodes, command.options.outside);
      if (command.options.detach) return startDetached(argv);
      return start(MACHINE_LAYOUT, artifactsOf(findRoot()), command.options);
  }
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    if (error instanceof AppError) console.error(`error: ${error.message}`);
    else console.error(error);
    process.exit(1);
  },
);
