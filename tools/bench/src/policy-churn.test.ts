// SPDX-License-Identifier: Apache-2.0
// Tested: the steps of policy-churn that need no cluster. How: small runs; how good the
// figures are is judged by nobody here.
import { expect, test } from '@jest/globals';
import { mapStep, selectorStep } from './policy-churn.ts';

test('the selector step and the map step give times', () => {
  expect(selectorStep(50, 3)).toBeGreaterThan(0);
  expect(mapStep(20, 2, 4)).toBeGreaterThan(0);
});
