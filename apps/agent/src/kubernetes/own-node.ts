// SPDX-License-Identifier: Apache-2.0
import { AppError, type Logger } from '@cilium-ts/base';
import type { Node, Reflector } from '@cilium-ts/kube';
import { nodeRow } from './watches.ts';
import type { NodeRow } from '../rows.ts';
import type { StateFile } from '../state-file.ts';

/** With a remembered node, the API server gets this long before the agent goes on without it. */
const PATIENCE_MS = 3000;

/**
 * This node's addresses and pod CIDRs: from the API server as soon as they are there; after a restart with the API
 * server out of reach, as they were remembered.
 */
export async function findOwnNode(
  nodes: Reflector<Node>,
  name: string,
  memory: StateFile<NodeRow>,
  logger: Logger,
): Promise<NodeRow> {
  const remembered = memory.read();
  const usable = (row: NodeRow | undefined): row is NodeRow =>
    row !== undefined && row.podCidrs.length > 0 && row.internalIps.length > 0;
  const found = await new Promise<NodeRow | undefined>((resolve) => {
    const look = (): void => {
      const node = nodes.store.get(name);
      const row = node && nodeRow(node, name);
      if (usable(row)) done(row);
    };
    const done = (row: NodeRow | undefined): void => {
      clearTimeout(timer);
      clearInterval(reminder);
      stop();
      resolve(row);
    };
    const patience = remembered?.name === name && usable(remembered) ? PATIENCE_MS : undefined;
    const timer = patience === undefined ? undefined : setTimeout(() => done(undefined), patience);
    const reminder = setInterval(() => {
      logger.info(
        { node: name, error: nodes.lastError },
        'waiting for this Node, its InternalIP and its podCIDRs',
      );
    }, 10_000);
    const stop = nodes.subscribe({ onAdd: look, onUpdate: look });
    look();
  });
  if (found) {
    await memory.write(found);
    return found;
  }
  if (!remembered) throw new AppError('no-node', `Node ${name} was not found`);
  logger.warn({ node: name }, 'the API server does not answer, going on with this node as it was');
  return remembered;
}
