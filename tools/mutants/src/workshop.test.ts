// SPDX-License-Identifier: Apache-2.0
// Tested: what counts as found. How: reports in the form of the test runner.
import { expect, test } from '@jest/globals';
import { readReport } from './workshop.ts';

const report = (...failures: string[]) => ({
  testResults: [
    {
      assertionResults: [
        { status: 'passed', failureMessages: [] },
        ...failures.map((text) => ({ status: 'failed', failureMessages: [text] })),
      ],
    },
  ],
});

test.each([
  ['failed', report('expect(received).toBe(expected)')],
  ['failed', report('the verifier refused it', 'expect(received).toEqual(expected)')],
  ['broken', report('BPF_PROG_LOAD: permission denied: the verifier says: ...')],
  ['timeout', report('Exceeded timeout of 60000 ms for a test.')],
  ['broken', { testResults: [{ assertionResults: [] }] }],
])('%s', (judgement, found) => expect(readReport(found)).toBe(judgement));
