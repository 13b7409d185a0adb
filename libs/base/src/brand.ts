// SPDX-License-Identifier: Apache-2.0

declare const brand: unique symbol;

/** A value of type T that cannot be mixed up with another T. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
