// SPDX-License-Identifier: Apache-2.0
// peer.Peer: the nodes whose agents have flows, first all of them, then changes.
import { ChangeNotificationType, type ChangeNotification, type PeerDefinition } from '@cilium-ts/proto';
import { formatAddressPort } from '@cilium-ts/net';
import { RPC_STATUS, RpcError, type Handlers } from '@cilium-ts/rpc';

export interface PeerNode {
  readonly name: string;
  readonly internalIps: readonly string[];
  /** A host without an agent. */
  readonly outside: boolean;
}

/** The node table, as far as peers need it. */
export interface PeerNodes {
  values(): Iterable<PeerNode>;
  watch(listener: () => void): () => void;
}

/** Changes waiting for one client; beyond that it is cut off and starts anew. */
const QUEUE_MAX = 65_536;

function addressOf(node: PeerNode, port: number): string {
  const ip = node.internalIps.find((address) => !address.includes(':')) ?? node.internalIps[0] ?? '';
  return ip === '' ? '' : formatAddressPort(ip, port);
}

export function peerHandlers(
  nodes: PeerNodes,
  port: number,
  fullName: (node: string) => string,
): Handlers<typeof PeerDefinition> {
  const present = (): Map<string, string> => {
    const peers = [...nodes.values()].filter((node) => !node.outside && node.internalIps.length > 0);
    return new Map(peers.map((node) => [fullName(node.name), addressOf(node, port)]));
  };
  return {
    notify: async (_request, out) => {
      const queue: ChangeNotification[] = [];
      let told = new Map<string, string>();
      let wake: () => void = () => undefined;
      const compare = (): void => {
        const now = present();
        queue.push(...changes(told, now));
        told = now;
        wake();
      };
      const unwatch = nodes.watch(compare);
      const onAbort = (): void => wake();
      out.signal.addEventListener('abort', onAbort);
      try {
        compare();
        while (!out.signal.aborted) {
          if (queue.length > QUEUE_MAX)
            throw new RpcError(RPC_STATUS.RESOURCE_EXHAUSTED, 'client too slow for peer changes');
          const next = queue.shift();
          if (next) {
            if (!out.write(next)) await out.drained();
          } else await new Promise<void>((resolve) => (wake = resolve));
        }
      } finally {
        unwatch();
      }
    },
  };
}

function changes(before: Map<string, string>, after: Map<string, string>): ChangeNotification[] {
  const found: ChangeNotification[] = [];
  const add = (name: string, address: string, type: ChangeNotificationType): void => {
    found.push({ name, address, type, tls: undefined });
  };
  for (const [name, address] of after) {
    if (!before.has(name)) add(name, address, ChangeNotificationType.PEER_ADDED);
    else if (before.get(name) !== address) add(name, address, ChangeNotificationType.PEER_UPDATED);
  }
  for (const [name, address] of before)
    if (!after.has(name)) add(name, address, ChangeNotificationType.PEER_DELETED);
  return found;
}
