// SPDX-License-Identifier: Apache-2.0
// A copy of the repository in which faults are tried: sources of its own, dependencies shared.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { applied, type Mutant } from './mutant.ts';

/** Test files that should find a fault, the quickest first; `kernel` needs root and builds of the BPF programs. */
export interface Suite {
  readonly project: 'unit' | 'kernel';
  readonly paths: readonly string[];
}

const TIMEOUT_MS = 240_000;

/** `broken`: nothing could be tested, since a file did not load or the kernel refused a program. */
export type Judgement = 'passed' | 'failed' | 'broken' | 'timeout';

export interface JestReport {
  readonly testResults: readonly {
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/** One failed test that is about behaviour is enough. */
export function readReport({ testResults }: JestReport): Judgement {
  const failures = testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status === 'failed')
    .map(({ failureMessages }) => failureMessages.join('\n'));
  if (failures.some((text) => !/verifier|BPF_PROG_LOAD/i.test(text) && !/Exceeded timeout/.test(text)))
    return 'failed';
  return failures.some((text) => /Exceeded timeout/.test(text)) ? 'timeout' : 'broken';
}

export class Workshop {
  readonly root: string;

  /** @param source root of the repository; what is not committed is taken along */
  constructor(source: string) {
    this.root = mkdtempSync(join(tmpdir(), 'cilium-ts-mutants-'));
    for (const entry of [
      'apps',
      'bpf',
      'deploy',
      'dist',
      'libs',
      'tools',
      'jest.config.mjs',
      'package.json',
      'tsconfig.base.json',
      'tsconfig.json',
    ])
      cpSync(join(source, entry), join(this.root, entry), { recursive: true, verbatimSymlinks: true });
    // Packages of ours are links into the tree they stand in: they must lead to the copy.
    cpSync(join(source, 'node_modules/@cilium-ts'), join(this.root, 'node_modules/@cilium-ts'), {
      recursive: true,
      verbatimSymlinks: true,
    });
    this.#linkPackages(source);
  }

  #linkPackages(source: string): void {
    const shared = join(source, 'node_modules');
    for (const name of readdirSync(shared))
      if (name !== '@cilium-ts') symlinkSync(join(shared, name), join(this.root, 'node_modules', name));
  }

  /** Runs `work` while the fault is in place. */
  with<T>(mutant: Mutant, work: () => T): T {
    const path = join(this.root, mutant.file);
    const before = readFileSync(path, 'utf8');
    writeFileSync(path, applied(this.root, mutant));
    try {
      return work();
    } finally {
      writeFileSync(path, before);
    }
  }

  /** The compiler's words where it refuses. */
  buildBpf(): string | undefined {
    const out = join(this.root, 'dist/bpf');
    const { status, stderr } = spawnSync('make', ['-C', 'bpf', `OUT=${out}`], {
      cwd: this.root,
      encoding: 'utf8',
    });
    return status === 0 ? undefined : stderr.slice(-2000);
  }

  /** What the tests of the suite say. Only a test that ran and failed has found something. */
  judge({ project, paths }: Suite): Judgement {
    const report = join(this.root, 'report.json');
    rmSync(report, { force: true });
    const jest = join(this.root, 'node_modules/jest/bin/jest.js');
    // No --bail: it would end the run before the report is written.
    const args = [
      jest,
      '--selectProjects',
      project,
      '--forceExit',
      '--testTimeout=60000',
      '--json',
      `--outputFile=${report}`,
      '--',
      ...paths,
    ];
    const { status, error } = spawnSync(process.execPath, args, {
      cwd: this.root,
      stdio: 'ignore',
      timeout: TIMEOUT_MS,
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    if (status === 0) return 'passed';
    if (error || !existsSync(report)) return 'timeout';
    return readReport(JSON.parse(readFileSync(report, 'utf8')) as JestReport);
  }

  /** What the last suite had to say. */
  failures(): string {
    const report = join(this.root, 'report.json');
    if (!existsSync(report)) return 'no report';
    const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as JestReport;
    return testResults
      .flatMap(({ message }) => message ?? [])
      .join('\n')
      .slice(0, 4000);
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
