// SPDX-License-Identifier: Apache-2.0
// A datapath and a node made of literals, for tests.
import { EventType, PacketEventCodec, type PacketEvent } from '@cilium-ts/abi';
import type { EventSource, FlowEndpoint, FlowEventBatch, FlowLookups } from '@cilium-ts/flow';
import type { PeerNode, PeerNodes } from './peers.ts';

const WEB: FlowEndpoint = { id: 7, identity: 1001, namespace: 'shop', podName: 'web', labels: [] };
const CACHE: FlowEndpoint = { id: 8, identity: 1002, namespace: 'store', podName: 'cache', labels: [] };

export const LOOKUPS: FlowLookups = {
  nodeName: 'node1',
  clusterName: 'default',
  version: '1.20.0',
  endpointByAddress: (address) => (address === '10.0.0.1' ? WEB : address === '10.0.0.2' ? CACHE : undefined),
  identityLabels: () => [],
  serviceByAddress: () => undefined,
  originOf: () => undefined,
  interfaceName: () => '',
  clockOffset: () => 0n,
};

// IPv4 and UDP, 10.0.0.1 to 10.0.0.2; the source port tells events apart.
const PACKET = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 53, 0, 8, 0, 0];
const PORT_AT = 20;

export const unixNow = (): bigint => BigInt(Date.now()) * 1_000_000n;

export function eventBytes(port: number, event: Partial<PacketEvent> = {}): Uint8Array {
  const bytes = new Uint8Array(PacketEventCodec.size + PACKET.length);
  const whole: PacketEvent = {
    ...PacketEventCodec.decode(bytes, 0),
    type: EventType.EVENT_TRACE,
    flags: 2,
    time: unixNow(),
    capturedLength: PACKET.length,
    ...event,
  };
  PacketEventCodec.encode(bytes, 0, whole);
  bytes.set(PACKET, PacketEventCodec.size);
  new DataView(bytes.buffer).setUint16(PacketEventCodec.size + PORT_AT, port);
  return bytes;
}

export class FakeDatapath implements EventSource {
  lost = 0;
  readonly #listeners = new Set<(batch: FlowEventBatch) => void>();

  subscribe(listener: (batch: FlowEventBatch) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  emit(...events: readonly Uint8Array[]): void {
    const batch: FlowEventBatch = {
      forEach: (use) => {
        for (const bytes of events) use(bytes, 0, bytes.length);
      },
    };
    for (const listener of this.#listeners) listener(batch);
  }
}

export class FakeNodes implements PeerNodes {
  readonly #listeners = new Set<() => void>();
  #nodes: readonly PeerNode[] = [];

  values(): Iterable<PeerNode> {
    return this.#nodes;
  }

  watch(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  set(nodes: readonly PeerNode[]): void {
    this.#nodes = nodes;
    for (const listener of this.#listeners) listener();
  }
}
