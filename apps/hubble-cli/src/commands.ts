// SPDX-License-Identifier: Apache-2.0
// The commands by name; each is loaded when it is typed.
import { usage } from './arguments.ts';

export const VERSION = '0.1.0';

const HELP = `hubble shows the flows of a cluster.

Usage:
  hubble COMMAND [flags]

Commands:
  observe      flows, past and present
  status       whether the server answers and what it holds
  list         nodes, namespaces
  watch        peers of an agent
  version      version of this program

hubble COMMAND --help tells the flags.
`;

/** Runs a command; resolves to the exit code. @throws AppError `usage` and others */
export async function run(args: readonly string[]): Promise<number> {
  const [command = 'help', ...rest] = args;
  switch (command) {
    case 'observe':
      return (await import('./observe.ts')).observe(rest);
    case 'status':
      return (await import('./status.ts')).status(rest);
    case 'list':
      return (await import('./list.ts')).list(rest);
    case 'watch':
      return (await import('./watch.ts')).watch(rest);
    case 'version':
    case '--version':
      process.stdout.write(`hubble v${VERSION}\n`);
      return 0;
    case 'help':
    case '--help':
    case '-h':
      process.stdout.write(HELP);
      return 0;
    default:
      throw usage(`unknown command ${JSON.stringify(command)}; hubble help lists them`);
  }
}
