// SPDX-License-Identifier: Apache-2.0
// Tests the framing of ring chunks and the counting of lost events.
// Sequences with losses, neighbours swapped and wrap-around are made by hand and at random.
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { eventBatch, LossCounter } from './events.ts';

describe('eventBatch', () => {
  it('walks over records of any length', () => {
    const lengths = [0, 1, 8, 13];
    const chunk = new ArrayBuffer(8 + 8 + 8 + 8 + 8 + 8 + 16);
    const view = new DataView(chunk);
    let at = 0;
    for (const length of lengths) {
      view.setUint32(at, length, true);
      at += 8 + ((length + 7) & ~7);
    }
    const seen: number[] = [];
    eventBatch(chunk, 4).forEach((_, __, length) => seen.push(length));
    expect(seen).toEqual(lengths);
  });
});

describe('LossCounter', () => {
  it('counts what is missing, whichever records are missing', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.array(fc.boolean(), { maxLength: 200 }),
        (start, kept) => {
          const counter = new LossCounter();
          counter.see(3, start);
          kept.forEach((keep, i) => keep && counter.see(3, (start + 1 + i) >>> 0));
          const lost = kept.filter((keep) => !keep).length;
          const counters = [0, 0, 0, (start + kept.length) >>> 0];
          expect(counter.lostUpTo(counters)).toBe(lost);
          expect(counter.lost).toBe(kept.slice(0, kept.lastIndexOf(true) + 1).filter((keep) => !keep).length);
        },
      ),
    );
  });

  it('takes back a loss when the record comes late', () => {
    const counter = new LossCounter();
    for (const sequence of [1, 3, 2, 4]) counter.see(0, sequence);
    expect(counter.lost).toBe(0);
  });

  it('keeps CPUs apart', () => {
    const counter = new LossCounter();
    counter.see(0, 1);
    counter.see(1, 100);
    counter.see(0, 3);
    counter.see(1, 101);
    expect(counter.lost).toBe(1);
  });
});
