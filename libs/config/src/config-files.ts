// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { AppError } from '@cilium-ts/base';

/** Keys and values of a mounted ConfigMap: one file per key; hidden entries are the mount's own machinery. */
export function readConfigDirectory(directory: string): Record<string, string> {
  const values: Record<string, string> = {};
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    throw new AppError(
      'bad-config',
      `cannot read the configuration folder ${directory}`,
      { directory },
      error,
    );
  }
  for (const name of names) {
    const path = join(directory, name);
    if (name.startsWith('.') || !statSync(path).isFile()) continue;
    values[name] = readFileSync(path, 'utf8').trim();
  }
  return values;
}

export interface CommandLine {
  readonly configDirectory: string | undefined;
  readonly flags: Readonly<Record<string, string>>;
}

/** `--key=value`, `--key value`, `--key` (true). @throws AppError `bad-config` for anything else */
export function parseCommandLine(args: readonly string[]): CommandLine {
  const flags: Record<string, string> = {};
  for (let i = 0; i < args.length; i++) {
    const match = /^--([a-z0-9][a-z0-9-]*)(?:=(.*))?$/s.exec(args[i]!);
    if (!match)
      throw new AppError('bad-config', `unexpected argument ${JSON.stringify(args[i])}: use --key=value`);
    const [, key, value] = match;
    const next = args[i + 1];
    if (value !== undefined) flags[key!] = value;
    else if (next !== undefined && !next.startsWith('--')) {
      flags[key!] = next;
      i++;
    } else flags[key!] = 'true';
  }
  const { 'config-dir': configDirectory, ...rest } = flags;
  return { configDirectory, flags: rest };
}
