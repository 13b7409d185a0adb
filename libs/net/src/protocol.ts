// SPDX-License-Identifier: Apache-2.0

/** IP protocol numbers by the names that policies and flows use. */
export const PROTOCOL_NAMES: Readonly<Record<string, number>> = {
  ANY: 0,
  ICMP: 1,
  IGMP: 2,
  TCP: 6,
  UDP: 17,
  ICMPv6: 58,
  VRRP: 112,
  SCTP: 132,
};

const NAMES = new Map(Object.entries(PROTOCOL_NAMES).map(([name, number]) => [number, name]));

export function protocolName(number: number): string {
  return NAMES.get(number) ?? String(number);
}

/** Case-insensitive; undefined where unknown. */
export function protocolNumber(name: string): number | undefined {
  const wanted = name.toUpperCase();
  for (const [known, number] of Object.entries(PROTOCOL_NAMES))
    if (known.toUpperCase() === wanted) return number;
  return undefined;
}
