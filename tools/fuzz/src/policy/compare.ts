// SPDX-License-Identifier: Apache-2.0
// Do specification and compiled rule set say the same, and blame the same policies?
import { type Origin as CompiledOrigin, type RuleSetEntry } from '@cilium-ts/policy';
import type { Judgement, Origin } from '@cilium-ts/policy-oracle';
import type { Compiled } from './compiled.ts';
import { formatProbe, type Probe } from './probe.ts';

/** An answer in the terms all three sides share. */
export interface Answer {
  readonly verdict: Judgement['verdict'];
  /** Undefined: no entry decided. */
  readonly origin?: CompiledOrigin;
}

/** Answer of the compiled rule set, by the model of the kernel's lookup. */
export function compiledAnswer({ ruleSet, state, identityOf }: Compiled, probe: Probe): Answer {
  const { direction, peer, protocol, port } = probe;
  const entry = state.lookup({ direction, identity: identityOf(peer), protocol, port });
  return { verdict: verdictOf(entry), ...originOf(ruleSet.origins, entry?.origin ?? 0) };
}

export function originOf(origins: readonly CompiledOrigin[], number: number): { origin?: CompiledOrigin } {
  const origin = number === 0 ? undefined : origins[number - 1];
  return origin ? { origin } : {};
}

function verdictOf(entry: RuleSetEntry | undefined): Judgement['verdict'] {
  return entry?.verdict ?? 'deny';
}

function sameObject(a: Pick<Origin, 'kind' | 'name'> & { namespace?: string }, b: Origin): boolean {
  return a.kind === b.kind && (a.namespace ?? '') === b.namespace && a.name === b.name;
}

/** The same place, or one the part of the other. */
function samePlace(compiled: CompiledOrigin, specified: Origin): boolean {
  if (!sameObject(compiled, specified)) return false;
  return compiled.path.startsWith(specified.path) || specified.path.startsWith(compiled.path);
}

/** Undefined where they agree; otherwise one line. */
export function disagreement(
  specified: Judgement,
  answer: Answer,
  probe: Probe,
  who: string,
): string | undefined {
  const told = formatProbe(probe);
  if (specified.verdict !== answer.verdict) {
    return `${told}: specified ${specified.verdict} by ${places(specified.decidedBy)}, ${who} ${answer.verdict} by ${place(answer.origin)}`;
  }
  // The local host is let in by no policy, or by one: both are true.
  if (probe.direction === 'ingress' && probe.peer.identity === 1 && specified.verdict === 'allow')
    return undefined;
  const { origin } = answer;
  const agreed = origin
    ? specified.decidedBy.some((each) => samePlace(origin, each))
    : specified.decidedBy.length === 0;
  return agreed
    ? undefined
    : `${told}: ${specified.verdict}, specified by ${places(specified.decidedBy)}, ${who} by ${place(origin)}`;
}

function place(origin: { kind: string; namespace?: string; name: string; path: string } | undefined): string {
  return origin ? `${origin.kind} ${origin.namespace ?? ''}/${origin.name} ${origin.path}` : 'nobody';
}

function places(origins: readonly Origin[]): string {
  return origins.length === 0 ? 'nobody' : origins.map(place).join(', ');
}

/** The policies that isolate: both sides must name the same. */
export function isolationDisagreement(
  specified: Judgement,
  compiled: Compiled,
  probe: Probe,
): string | undefined {
  if (!specified.defaultDeny) return undefined;
  const { isolatedBy, auditedBy } = compiled.ruleSet;
  const theirs = (specified.verdict === 'audit' ? auditedBy : isolatedBy)[probe.direction];
  const missing = specified.isolatedBy.filter((each) => !theirs.some((other) => sameObject(other, each)));
  const extra = theirs.filter((other) => !specified.isolatedBy.some((each) => sameObject(other, each)));
  if (missing.length + extra.length === 0) return undefined;
  return `${formatProbe(probe)}: isolated by ${places(specified.isolatedBy)}, compiled ${theirs.map(place).join(', ') || 'nobody'}`;
}
