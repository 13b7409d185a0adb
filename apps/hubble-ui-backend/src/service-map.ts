// SPDX-License-Identifier: Apache-2.0
// Cards and links, folded from flows as they come; what was not seen for a while goes.
import type { FlowView } from './flow-view.ts';

export interface Card {
  readonly id: string;
  readonly namespace: string;
  readonly labels: readonly string[];
}

export interface Link {
  readonly id: string;
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly protocol: string;
  forwarded: number;
  dropped: number;
  /** Who denied last, empty where nobody did. */
  deniedBy: string;
  /** Milliseconds since the epoch. */
  lastSeen: number;
}

export interface ServiceMapView {
  readonly cards: readonly Card[];
  readonly links: readonly Link[];
}

const LINKS_MAX = 5000;
const EXPIRY_MS = 15 * 60_000;

export class ServiceMap {
  readonly #cards = new Map<string, Card & { lastSeen: number }>();
  readonly #links = new Map<string, Link>();

  /** Returns the link that changed. */
  add(flow: FlowView): Link {
    this.#see(flow.source, flow.time);
    this.#see(flow.destination, flow.time);
    const id = `${flow.source.card}>${flow.destination.card}:${flow.port}/${flow.protocol}`;
    let link = this.#links.get(id);
    if (!link) {
      const ends = { source: flow.source.card, destination: flow.destination.card };
      link = {
        id,
        ...ends,
        port: flow.port,
        protocol: flow.protocol,
        forwarded: 0,
        dropped: 0,
        deniedBy: '',
        lastSeen: 0,
      };
    } else this.#links.delete(id);
    // Last in the map: the first ones are those that were not seen for longest.
    this.#links.set(id, link);
    if (flow.verdict === 'DROPPED' || flow.verdict === 'ERROR') {
      link.dropped++;
      link.deniedBy = flow.decidedBy || flow.type;
    } else link.forwarded++;
    link.lastSeen = Math.max(link.lastSeen, flow.time);
    if (this.#links.size > LINKS_MAX) this.#links.delete(this.#links.keys().next().value!);
    return link;
  }

  #see(end: FlowView['source'], time: number): void {
    this.#cards.set(end.card, { id: end.card, namespace: end.namespace, labels: end.labels, lastSeen: time });
  }

  expire(now: number): void {
    for (const [id, link] of this.#links) if (now - link.lastSeen > EXPIRY_MS) this.#links.delete(id);
    for (const [id, card] of this.#cards) if (now - card.lastSeen > EXPIRY_MS) this.#cards.delete(id);
  }

  card(id: string): Card | undefined {
    return this.#cards.get(id);
  }

  view(namespace = ''): ServiceMapView {
    const isShown = (id: string): boolean => namespace === '' || this.#cards.get(id)?.namespace === namespace;
    const links = [...this.#links.values()].filter(
      (link) => isShown(link.source) || isShown(link.destination),
    );
    const ids = new Set(links.flatMap((link) => [link.source, link.destination]));
    const cards = [...this.#cards.values()].filter(({ id }) => ids.has(id));
    return { cards: cards.map(({ id, namespace: of, labels }) => ({ id, namespace: of, labels })), links };
  }
}
