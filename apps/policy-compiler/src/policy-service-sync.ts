// SPDX-License-Identifier: Apache-2.0
// One node's stream: what it does not have, then what changes. A slow node gets several changes as one.
import { AppError } from '@cilium-ts/base';
import { encodeRuleSet, type RuleSet, type Subject } from '@cilium-ts/policy';
import { SyncResponse, type SyncRequest } from '@cilium-ts/proto';
import { RPC_STATUS, RpcError, type Outbox } from '@cilium-ts/rpc';
import type { Published, PublishedState } from './published-state.ts';

/** A message ends soon after this many characters of rule sets, or this many subjects or prefixes. */
const CHUNK_CHARACTERS = 256 * 1024;
const CHUNK_ITEMS = 1000;

/** What the node has, once it has applied everything written. */
class NodeState {
  readonly ruleSets: Set<string>;
  subjects = new Map<number, Subject>();
  cidrs = new Map<string, number>();

  constructor(ruleSets: readonly string[]) {
    this.ruleSets = new Set(ruleSets);
  }
}

type Part = Pick<
  Partial<SyncResponse>,
  'ruleSets' | 'subjects' | 'removedSubjects' | 'cidrs' | 'removedCidrs'
>;

/** @throws RpcError UNAVAILABLE where another compiler leads, FAILED_PRECONDITION where the node has seen a newer epoch */
export async function syncNode(
  published: PublishedState,
  request: SyncRequest,
  out: Outbox<SyncResponse>,
): Promise<void> {
  if (request.node === '') throw new AppError('bad-request', 'node: a name is needed');
  const node = new NodeState(request.ruleSets);
  let known = leading(published);
  const { epoch, revision } = known.at;
  if (Number(request.epoch) > epoch)
    throw new RpcError(
      RPC_STATUS.FAILED_PRECONDITION,
      `${request.node} has seen epoch ${request.epoch}, this compiler leads with epoch ${epoch}`,
    );
  const isCurrent = Number(request.epoch) === epoch && Number(request.revision) === revision;
  const missing = changes(node, known);
  await send(out, known, !isCurrent, isCurrent ? [] : missing);
  while (!out.signal.aborted) {
    await published.changedFrom(known, out.signal);
    if (out.signal.aborted) return;
    known = leading(published);
    await send(out, known, false, changes(node, known));
  }
}

function leading(published: PublishedState): Published {
  if (published.now) return published.now;
  throw new RpcError(RPC_STATUS.UNAVAILABLE, 'this compiler does not lead, or has not published yet');
}

async function send(
  out: Outbox<SyncResponse>,
  { at }: Published,
  snapshot: boolean,
  parts: readonly Part[],
): Promise<void> {
  const head = { epoch: BigInt(at.epoch), revision: BigInt(at.revision), snapshot };
  const all = parts.length === 0 ? [{}] : parts;
  for (const [index, part] of all.entries()) {
    if (out.signal.aborted) return;
    const last = index === all.length - 1;
    if (!out.write(SyncResponse.fromPartial({ ...head, last, ...part }))) await out.drained();
  }
}

/** What `node` lacks of the state, in messages; it counts as had from now on. */
function changes(node: NodeState, { state }: Published): Part[] {
  const parts: Part[] = ruleSetParts(state.ruleSets.filter(({ id }) => !node.ruleSets.has(id)));
  const subjects = state.subjects.filter(
    (subject) => JSON.stringify(node.subjects.get(subject.identity)) !== JSON.stringify(subject),
  );
  const cidrs = state.cidrs.filter(({ prefix, identity }) => node.cidrs.get(prefix) !== identity);
  for (const some of pieces(cidrs)) parts.push({ cidrs: [...some] });
  for (const some of pieces(subjects))
    parts.push({
      subjects: some.map(({ identity, ruleSet, pods }) => ({ identity, ruleSet, pods: { ...pods } })),
    });
  const present = new Set(state.subjects.map(({ identity }) => identity));
  const named = new Set(state.cidrs.map(({ prefix }) => prefix));
  const removedSubjects = [...node.subjects.keys()].filter((identity) => !present.has(identity));
  const removedCidrs = [...node.cidrs.keys()].filter((prefix) => !named.has(prefix));
  for (const some of pieces(removedSubjects)) parts.push({ removedSubjects: [...some] });
  for (const some of pieces(removedCidrs)) parts.push({ removedCidrs: [...some] });
  node.subjects = new Map(state.subjects.map((subject) => [subject.identity, subject]));
  node.cidrs = new Map(state.cidrs.map(({ prefix, identity }) => [prefix, identity]));
  node.ruleSets.clear();
  for (const { id } of state.ruleSets) node.ruleSets.add(id);
  return parts;
}

function ruleSetParts(ruleSets: readonly RuleSet[]): Part[] {
  const parts: { ruleSets: SyncResponse['ruleSets'] }[] = [];
  let size = Infinity;
  for (const ruleSet of ruleSets) {
    const document = encodeRuleSet(ruleSet);
    if (size >= CHUNK_CHARACTERS) {
      parts.push({ ruleSets: [] });
      size = 0;
    }
    parts.at(-1)!.ruleSets.push({ id: ruleSet.id, document });
    size += document.length;
  }
  return parts;
}

function* pieces<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += CHUNK_ITEMS) yield items.slice(at, at + CHUNK_ITEMS);
}
