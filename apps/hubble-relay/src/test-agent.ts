// SPDX-License-Identifier: Apache-2.0
// For tests: an agent's Hubble server whose flows and peers are given by hand.
import { silentLogger } from '@cilium-ts/base';
import {
  ChangeNotification,
  ChangeNotificationType,
  type Flow,
  GetFlowsResponse,
  ObserverDefinition,
  PeerDefinition,
  ServerStatusResponse,
} from '@cilium-ts/proto';
import { pause, RPC_STATUS, RpcError, RpcServer, type Outbox } from '@cilium-ts/rpc';

export interface TestPeer {
  readonly name: string;
  readonly address: string;
}

const refuse = (): never => {
  throw new RpcError(RPC_STATUS.UNIMPLEMENTED, 'not here');
};

export class TestAgent {
  readonly name: string;
  readonly flows: Uint8Array[] = [];
  peers: readonly TestPeer[] = [];
  /** Metadata of the last GetFlows. */
  metadata: Record<string, unknown> = {};
  readonly #followers = new Set<Outbox<GetFlowsResponse>>();
  #server: RpcServer | undefined;
  #port = 0;

  constructor(name: string) {
    this.name = name;
  }

  get peer(): TestPeer {
    return { name: this.name, address: `127.0.0.1:${this.#port}` };
  }

  get followers(): number {
    return this.#followers.size;
  }

  /** On the port of the time before, if there was one. */
  async start(): Promise<void> {
    const server = new RpcServer({ logger: silentLogger });
    server.addService(ObserverDefinition, {
      getFlows: async ({ follow }, out) => {
        this.metadata = out.metadata.getMap();
        for (const bytes of this.flows) out.write(bytes);
        if (!follow) return;
        this.#followers.add(out);
        while (!out.signal.aborted) await pause(60_000, out.signal);
        this.#followers.delete(out);
      },
      getAgentEvents: refuse,
      getDebugEvents: refuse,
      getNodes: refuse,
      getNamespaces: () => ({ namespaces: [{ cluster: '', namespace: this.name }] }),
      serverStatus: () =>
        ServerStatusResponse.fromPartial({
          numFlows: 3n,
          maxFlows: 7n,
          seenFlows: 60n,
          uptimeNs: 61_000_000_000n,
          flowsRate: 1.5,
          version: 'cilium v0',
        }),
    });
    server.addService(PeerDefinition, {
      notify: async (_request, out) => {
        for (const peer of this.peers) {
          out.write(ChangeNotification.fromPartial({ ...peer, type: ChangeNotificationType.PEER_ADDED }));
        }
        while (!out.signal.aborted) await pause(60_000, out.signal);
      },
    });
    this.#port = await server.listen(`127.0.0.1:${this.#port}`);
    this.#server = server;
  }

  async stop(): Promise<void> {
    await this.#server?.stop();
    this.#server = undefined;
  }

  /** `more` is appended as it is: fields that only newer agents know. */
  add(flow: Flow, more: Uint8Array = new Uint8Array()): void {
    const value = { ...flow, nodeName: this.name };
    const response: GetFlowsResponse = {
      responseTypes: { $case: 'flow', value },
      nodeName: this.name,
      time: value.time,
    };
    const bytes = Buffer.concat([GetFlowsResponse.encode(response).finish(), more]);
    this.flows.push(bytes);
    for (const follower of this.#followers) follower.write(bytes);
  }
}
