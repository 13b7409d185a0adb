// SPDX-License-Identifier: Apache-2.0
// Tests the shape of results, medians and the command line of the benches.
// Benches are stand-ins that measure nothing.
import { describe, expect, it } from '@jest/globals';
import { benchRow, median, percentile, type Bench } from './bench.ts';
import { runCommand } from './command.ts';

describe('figures', () => {
  it('takes medians and percentiles', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(percentile([1, 2, 3, 4, 5], 100)).toBe(5);
    expect(() => median([])).toThrow(RangeError);
  });

  it('judges the ratio where there is a peer, else the figure itself', () => {
    const base = { case: 'x', unit: 'n', ours: 10 };
    expect(benchRow({ ...base, better: 'higher', peer: { name: 'p', value: 8 }, goal: 1.2 })).toMatchObject({
      ratio: 1.25,
      met: true,
    });
    expect(benchRow({ ...base, better: 'lower', goal: 9 })).toMatchObject({
      ratio: null,
      peer: null,
      met: false,
    });
    expect(benchRow({ ...base, better: 'lower' })).toMatchObject({ goal: null, met: null });
  });
});

describe('the command', () => {
  const bench: Bench = {
    name: 'sample',
    summary: 'a sample',
    run: (options) =>
      options.small
        ? Promise.resolve([benchRow({ case: 'same', unit: 'ns', ours: 5, better: 'lower', goal: 6 })])
        : Promise.reject(new Error('only small')),
  };

  async function call(...argv: string[]): Promise<{ code: number; out: string; error: string }> {
    const lines = { out: '', error: '' };
    const code = await runCommand(argv, [bench], {
      out: (text) => (lines.out += text),
      error: (text) => (lines.error += text),
    });
    return { code, ...lines };
  }

  it('prints one JSON object of the agreed shape', async () => {
    const { code, out } = await call('sample', '--small', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual({
      bench: 'sample',
      machine: expect.stringContaining('Linux'),
      date: expect.stringMatching(/^\d{4}-/),
      rows: [
        {
          case: 'same',
          unit: 'ns',
          ours: 5,
          peer: null,
          peerName: null,
          ratio: null,
          goal: 6,
          better: 'lower',
          met: true,
        },
      ],
    });
  });

  it('prints a table otherwise', async () => {
    expect((await call('sample', '--small')).out).toMatch(/CASE.*\nsame +ns +5\.00 +- +- +<= 6 +met/);
  });

  it('lists the benches on wrong arguments and reports failures', async () => {
    expect(await call('nothing')).toMatchObject({
      code: 2,
      error: expect.stringContaining('sample  a sample'),
    });
    expect(await call('sample', '--fast')).toMatchObject({ code: 2 });
    expect(await call('sample', 'more')).toMatchObject({ code: 2 });
    expect(await call('sample')).toMatchObject({ code: 1, error: 'sample: only small' });
  });
});
