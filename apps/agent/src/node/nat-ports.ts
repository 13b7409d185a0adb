// SPDX-License-Identifier: Apache-2.0
// Ports that masqueraded flows take: the node's own connections must not choose among them, or replies to the node would
// go to pods. The kernel is told to leave them alone.
import { errorMessage, type Logger } from '@cilium-ts/base';
import type { Netlink } from '@cilium-ts/netlink';

export interface PortRange {
  readonly min: number;
  readonly max: number;
}

/** Half of the ports that Linux gives out by itself, and all above. */
export const NAT_PORTS: PortRange = { min: 49_152, max: 65_535 };

const RESERVED = 'net.ipv4.ip_local_reserved_ports';
const LOCAL = 'net.ipv4.ip_local_port_range';
/** Fewer are not worth having for masquerading. */
const WORTH = 1024;

/** A list as the kernel writes it (`8080,9000-9100`) with a range added; undefined where it has it already. */
export function withReserved(list: string, { min, max }: PortRange): string | undefined {
  const parts = list
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  const has = parts.some((part) => {
    const [from = NaN, to = from] = part.split('-').map(Number);
    return from <= min && to >= max;
  });
  return has ? undefined : [...parts, `${min}-${max}`].join(',');
}

/** What is left for masquerading above the ports that the node gives out itself; undefined where that is too little. */
export function aboveLocal(localRange: string): PortRange | undefined {
  const last = Number(localRange.trim().split(/\s+/)[1]);
  return 65_535 - last >= WORTH ? { min: last + 1, max: 65_535 } : undefined;
}

/** Reserves the ports in the node's namespace, or finds others; says so where neither can be. */
export async function reserveNatPorts(netlink: Netlink, logger: Logger): Promise<PortRange> {
  try {
    const list = withReserved(await netlink.readSysctl(RESERVED), NAT_PORTS);
    if (list !== undefined) await netlink.writeSysctls({ [RESERVED]: list });
    return NAT_PORTS;
  } catch (error) {
    const others = await netlink.readSysctl(LOCAL).then(aboveLocal, () => undefined);
    logger.warn(
      { sysctl: RESERVED, error: errorMessage(error), taken: others ?? NAT_PORTS },
      others
        ? 'cannot reserve ports for masquerading, those above the node’s own are taken'
        : 'cannot reserve ports for masquerading: they may collide with connections of the node',
    );
    return others ?? NAT_PORTS;
  }
}
