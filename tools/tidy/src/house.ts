// SPDX-License-Identifier: Apache-2.0
// The house rules that ESLint does not know: names, licence lines, sizes of C files, import cycles, the agent's inner walls.
import path from 'node:path';

export interface SourceFile {
  readonly file: string;
  readonly text: string;
}

export interface Problem {
  readonly file: string;
  readonly rule: string;
  readonly message: string;
}

const BANNED_STEMS = ['util', 'utils', 'helper', 'helpers', 'common', 'misc', 'stuff', 'shared'];
const MAX_LINES_C = 600;

export function houseProblems(files: readonly SourceFile[]): Problem[] {
  return [
    ...files.flatMap(nameProblems),
    ...files.flatMap(licenceProblems),
    ...files.flatMap(sizeProblems),
    ...files.flatMap(agentWallProblems),
    ...cycleProblems(files),
  ];
}

function nameProblems({ file }: SourceFile): Problem[] {
  const stem = path.basename(file).split('.')[0]!;
  const folders = path.dirname(file).split('/');
  const bad = [stem, ...folders].find((name) => BANNED_STEMS.includes(name));
  return bad ? [{ file, rule: 'name', message: `"${bad}" says nothing; name the subject` }] : [];
}

function licenceProblems({ file, text }: SourceFile): Problem[] {
  if (file.includes('/generated/')) return [];
  const head = text.slice(0, 200);
  return head.includes('SPDX-License-Identifier:')
    ? []
    : [{ file, rule: 'licence', message: 'no SPDX line at the top' }];
}

function sizeProblems({ file, text }: SourceFile): Problem[] {
  if (!/\.[ch]$/.test(file)) return [];
  const lines = text.split('\n').length;
  return lines > MAX_LINES_C
    ? [{ file, rule: 'size', message: `${lines} lines, at most ${MAX_LINES_C}: two rooms?` }]
    : [];
}

// Folders of the agent meet in tables and in assemble.ts. `config` is words, `tables` the meeting place.
const AGENT = 'apps/agent/src/';
const OPEN_TO_ALL = new Set(['tables', 'config']);

function agentWallProblems({ file, text }: SourceFile): Problem[] {
  if (!file.startsWith(AGENT) || /\.test\.ts$/.test(file)) return [];
  const own = room(file);
  if (own === undefined) return [];
  return relativeImports({ file, text })
    .filter((target) => target.startsWith(AGENT))
    .map(room)
    .filter((other) => other !== undefined && other !== own && !OPEN_TO_ALL.has(other))
    .map((other) => ({
      file,
      rule: 'agent-wall',
      message: `${own} imports ${other}; meet in a table or in assemble.ts`,
    }));
}

/** The first folder below apps/agent/src, undefined for files that lie there directly. */
function room(file: string): string | undefined {
  const rest = file.slice(AGENT.length).split('/');
  return rest.length > 1 ? rest[0] : undefined;
}

export function relativeImports({ file, text }: SourceFile): string[] {
  const found: string[] = [];
  for (const match of text.matchAll(/^(?:import|export)(?!\s+type\b)[^;'"]*?from\s+'(\.[^']+)'/gm)) {
    found.push(path.normalize(path.join(path.dirname(file), match[1]!)));
  }
  return found;
}

function cycleProblems(files: readonly SourceFile[]): Problem[] {
  const imports = new Map(
    files.filter(({ file }) => file.endsWith('.ts')).map((source) => [source.file, relativeImports(source)]),
  );
  const state = new Map<string, 'open' | 'done'>();
  const problems: Problem[] = [];
  const visit = (file: string, trail: readonly string[]): void => {
    if (state.get(file) === 'done') return;
    if (state.get(file) === 'open') {
      const cycle = [...trail.slice(trail.indexOf(file)), file];
      problems.push({ file, rule: 'cycle', message: cycle.join(' -> ') });
      return;
    }
    state.set(file, 'open');
    for (const next of imports.get(file) ?? []) visit(next, [...trail, file]);
    state.set(file, 'done');
  };
  for (const file of imports.keys()) visit(file, []);
  return problems;
}
