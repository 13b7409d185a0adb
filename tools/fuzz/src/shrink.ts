// SPDX-License-Identifier: Apache-2.0

/** The value without each of its list elements and optional fields in turn, deepest last. */
function* smaller(value: unknown): Generator<unknown> {
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) yield value.toSpliced(i, 1);
    for (let i = 0; i < value.length; i++) {
      for (const inner of smaller(value[i])) yield value.with(i, inner);
    }
  } else if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value);
    for (const [key] of entries) yield Object.fromEntries(entries.filter(([other]) => other !== key));
    for (const [key, inner] of entries) {
      for (const less of smaller(inner)) yield { ...value, [key]: less };
    }
  }
}

/** Takes away whatever can go while `fails` stays true. Values are JSON; `tries` bounds the work. */
export async function shrink<T>(
  value: T,
  fails: (candidate: T) => boolean | Promise<boolean>,
  tries = 3000,
): Promise<T> {
  let best = value;
  for (let again = true; again && tries > 0;) {
    again = false;
    for (const candidate of smaller(best) as Generator<T>) {
      if (tries-- <= 0) break;
      if (!(await fails(candidate))) continue;
      best = candidate;
      again = true;
      break;
    }
  }
  return best;
}
