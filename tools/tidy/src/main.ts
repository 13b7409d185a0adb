// SPDX-License-Identifier: Apache-2.0
import { houseProblems } from './house.ts';
import { trackedFiles } from './tracked-files.ts';

const problems = houseProblems(trackedFiles());
for (const problem of problems)
  process.stderr.write(`${problem.file}: ${problem.rule}: ${problem.message}\n`);
if (problems.length > 0) process.exit(1);
