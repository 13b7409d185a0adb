// SPDX-License-Identifier: Apache-2.0
import { ciliumEntries } from './cilium-policy.ts';
import { clusterNetworkPolicyEntries } from './cluster-network-policy.ts';
import { RANK, type Entry } from './entry.ts';
import { networkPolicyEntries } from './network-policy.ts';
import type { Flow, Judgement, Origin, PolicyObject, World } from './world.ts';

const TIERS = ['Admin', 'Normal', 'Baseline'] as const;
const HOST = 1;
const AUDIT_ANNOTATION = 'policy.cilium-ts.io/audit';
const ALLOWED: Judgement = {
  verdict: 'allow',
  decidedBy: [],
  matching: [],
  defaultDeny: false,
  isolatedBy: [],
};

/** The specification applied to one set of objects in one world. */
export interface Oracle {
  judge(flow: Flow): Judgement;
}

function entriesOf(world: World, object: PolicyObject): Entry[] {
  const audited = object.metadata.annotations?.[AUDIT_ANNOTATION] === 'true';
  switch (object.kind) {
    case 'CiliumNetworkPolicy':
    case 'CiliumClusterwideNetworkPolicy':
      return ciliumEntries(world, object, audited);
    case 'NetworkPolicy':
      return networkPolicyEntries(world, object, audited);
    case 'ClusterNetworkPolicy':
      return clusterNetworkPolicyEntries(world, object, audited);
    default:
      throw new Error(`not a kind of policy: ${object.kind}`);
  }
}

function entryMatches(entry: Entry, flow: Flow): boolean {
  if (entry.direction !== flow.direction) return false;
  if (entry.peers !== 'any' && !entry.peers.has(flow.identity)) return false;
  if (entry.services === 'any') return true;
  return entry.services.some(
    ({ protocol, low, high, ambiguous }) =>
      protocol === flow.protocol &&
      low <= flow.port &&
      flow.port <= high &&
      (!ambiguous || entry.verdict !== 'allow'),
  );
}

/** The local host is always let in, and without conditions, unless a deny says otherwise. */
function hostIsLetIn({ allowLocalhost, subject }: World, flow: Flow): boolean {
  return allowLocalhost && !subject.host && flow.direction === 'ingress' && flow.identity === HOST;
}

function judgeEntries(world: World, entries: readonly Entry[], flow: Flow): Judgement {
  if (world.mode === 'never' || (world.subject.host && !world.hostFirewall)) return ALLOWED;
  const relevant = entries.filter(({ direction }) => direction === flow.direction);
  const init = world.subject.labels.some((label) => label === 'reserved:init' || label === 'reserved:init=');
  const strict = world.mode === 'always' || init;
  if (!strict && relevant.length === 0) return ALLOWED;

  const isolating = relevant.filter(({ defaultDeny }) => defaultDeny);
  const matching = relevant.filter((entry) => entryMatches(entry, flow));
  const common = { matching: origins(matching), isolatedBy: origins(isolating), defaultDeny: false };

  for (const tier of TIERS) {
    const here = matching.filter((entry) => entry.tier === tier);
    const letIn = tier === 'Normal' && hostIsLetIn(world, flow);
    const first = Math.min(...here.map(({ priority }) => priority));
    const deciding = here.filter(({ priority, verdict }) => priority === first && verdict !== 'pass');
    if (deciding.length > 0 || letIn) {
      const highest = Math.max(letIn ? RANK.plain : 0, ...deciding.map(({ rank }) => rank));
      const decidedBy = origins(deciding.filter(({ rank }) => rank === highest));
      if (highest === RANK.deny) return { ...common, verdict: 'deny', decidedBy };
      if (highest === RANK.plain || letIn) return { ...common, verdict: 'allow', decidedBy };
      return { ...common, verdict: 'unenforced', decidedBy };
    }
    if (tier === 'Normal' && isolating.length > 0) break;
  }
  if (!strict && isolating.length === 0) return { ...common, verdict: 'allow', decidedBy: [] };
  return { ...common, verdict: 'deny', decidedBy: [], defaultDeny: true };
}

function origins(entries: readonly Entry[]): Origin[] {
  return entries.map(({ origin }) => origin);
}

/** Audited policies change one thing: what would pass without them and be dropped with them is told apart. */
function judgeAudited(world: World, entries: readonly Entry[], flow: Flow): Judgement {
  const audited = entries.filter((entry) => entry.audited);
  const without = judgeEntries(
    world,
    entries.filter((entry) => !entry.audited),
    flow,
  );
  if (audited.length === 0 || without.verdict !== 'allow') return without;
  const withAll = judgeEntries(world, entries, flow);
  if (withAll.verdict === 'allow') return without;
  const blamed = new Set(origins(audited));
  const cause = [withAll.decidedBy, withAll.isolatedBy, withAll.matching]
    .map((list) => list.filter((origin) => blamed.has(origin)))
    .find((list) => list.length > 0);
  return { ...withAll, verdict: 'audit', decidedBy: cause ?? [] };
}

/** Prepares the objects' entries for the subject of the world. */
export function createOracle(world: World, objects: readonly PolicyObject[]): Oracle {
  const entries = objects.flatMap((object) => entriesOf(world, object));
  return { judge: (flow) => judgeAudited(world, entries, flow) };
}
