// SPDX-License-Identifier: Apache-2.0
import { AppError, errorMessage, type Clock, type Logger } from '@cilium-ts/base';
import type { Bucket, BucketEntry } from '@cilium-ts/bus';
import { CIDR_IDENTITY_MIN } from '@cilium-ts/identity';
import {
  CLAIM_KEY,
  HEAD_KEY,
  cidrKey,
  encodeRuleSet,
  encodeSubject,
  ruleSetKey,
  parseEpochKey,
  subjectKey,
  type CidrIdentity,
  type Claim,
  type EngineState,
  type Head,
  type PolicyRevision,
} from '@cilium-ts/policy';
import { withSpan } from '@cilium-ts/telemetry';

/** What a session's bucket holds, as far as this compiler knows. */
interface Session {
  readonly bucket: Bucket;
  readonly written: Map<string, string>;
  headVersion: number;
  /** A head was written: until then documents may be there that no head speaks of, from a write that failed half-way. */
  spoken: boolean;
}

/** Rule sets that nothing refers to stay this long for nodes that are late, in milliseconds. */
const KEEP_UNUSED_MS = 60_000;

const FRESH_STARTS = 4096;
const FRESH_STEP = 2048;

/**
 * Writes the engine's state into the policy bucket: only what differs, the head last. The head is written by
 * compare-and-set, so that of two compilers that think they lead one finds out before its work counts.
 */
export class Publisher {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #name: string;
  readonly #unused = new Map<string, number>();
  #session: Session | undefined;
  #epoch = 0;
  #revision = 0;

  constructor(name: string, clock: Clock, log: Logger) {
    this.#name = name;
    this.#clock = clock;
    this.#log = log;
  }

  get at(): PolicyRevision {
    return { epoch: this.#epoch, revision: this.#revision };
  }

  get ready(): boolean {
    return this.#session !== undefined;
  }

  /**
   * Reads what the bucket holds. Returns the CIDR numbers in use there (undefined where it never held any policy, or lost it),
   * and the first that was never given. Only one that was `elected` since it last wrote may take the lead from another.
   * @throws AppError `bus-conflict`
   */
  async attach(
    bucket: Bucket,
    elected: boolean,
  ): Promise<{ cidrs: CidrIdentity[] | undefined; next: number }> {
    const entries = (await bucket.entries()).filter((entry) => entry.value !== undefined);
    const written = new Map<string, string>();
    for (const { key, value } of entries) if (key !== HEAD_KEY && key !== CLAIM_KEY) written.set(key, value!);
    const headEntry = entries.find(({ key }) => key === HEAD_KEY);
    const head = headEntry ? (JSON.parse(headEntry.value!) as Head) : undefined;
    const claim = entries.find(({ key }) => key === CLAIM_KEY);
    await this.#claim(bucket, claim, head?.epoch ?? 0, elected);
    // The deleted head of a bucket still has a version; an absent one is 0.
    this.#session = { bucket, written, headVersion: headEntry?.version ?? 0, spoken: false };
    this.#revision = Math.max(this.#revision, head?.revision ?? 0);
    const cidrs = [...written].flatMap(([key, prefix]) => {
      const parts = parseEpochKey(key);
      return parts?.kind === 'cidr' && parts.epoch === head?.epoch
        ? [{ prefix, identity: parts.identity }]
        : [];
    });
    // A store that was lost knows no numbers, nodes do: begin where no number was given of late.
    const fresh = CIDR_IDENTITY_MIN + (this.#epoch % FRESH_STARTS) * FRESH_STEP;
    return { cidrs: head && cidrs, next: head?.nextCidr ?? fresh };
  }

  /** Takes an epoch that nobody else has or had, unless the one we have is still the newest. */
  async #claim(
    bucket: Bucket,
    entry: BucketEntry | undefined,
    headEpoch: number,
    elected: boolean,
  ): Promise<void> {
    const claim = entry ? (JSON.parse(entry.value!) as Claim) : undefined;
    const newest = Math.max(headEpoch, claim?.epoch ?? 0);
    if (claim?.leader === this.#name && claim.epoch === this.#epoch && headEpoch <= this.#epoch) return;
    if (newest >= this.#epoch) {
      if (!elected) throw deposed(newest, this.#epoch);
      // Seconds of the clock: higher than any earlier leader's also after the store was lost.
      this.#epoch = Math.max(newest + 1, Math.floor(this.#clock.now() / 1000));
    }
    const ours: Claim = { epoch: this.#epoch, leader: this.#name };
    await bucket.compareAndSet(CLAIM_KEY, JSON.stringify(ours), entry?.version ?? 0);
  }

  detach(): void {
    this.#session = undefined;
  }

  /** Brings the bucket up to `state`; returns whether anything had to be written. @throws AppError `bus-conflict` */
  async publish(state: EngineState): Promise<boolean> {
    const session = this.#session;
    if (!session) return false;
    const wanted = documents(state, this.#epoch);
    const changed = [...wanted].filter(([key, value]) => session.written.get(key) !== value);
    const gone = [...session.written.keys()].filter(
      (key) => !wanted.has(key) && parseEpochKey(key)?.epoch === this.#epoch,
    );
    for (const key of wanted.keys()) this.#unused.delete(key);
    if (changed.length === 0 && gone.length === 0 && session.spoken) {
      await this.#collect(session, wanted);
      return false;
    }
    const counts = { changed: changed.length, removed: gone.length };
    await withSpan('policy publish', counts, () => this.#writeAll(session, changed, gone, state.nextCidr));
    this.#log.info({ epoch: this.#epoch, revision: this.#revision, ...counts }, 'policy published');
    await this.#collect(session, wanted);
    return true;
  }

  async #writeAll(
    session: Session,
    changed: readonly (readonly [string, string])[],
    gone: readonly string[],
    nextCidr: number,
  ): Promise<void> {
    // Rule sets first: a subject must never name one that is not there.
    await this.#write(
      session,
      changed.filter(([key]) => key.startsWith('ruleset.')),
    );
    await this.#write(
      session,
      changed.filter(([key]) => !key.startsWith('ruleset.')),
    );
    await Promise.all(gone.map((key) => session.bucket.delete(key).then(() => session.written.delete(key))));
    const head: Head = { epoch: this.#epoch, revision: this.#revision + 1, leader: this.#name, nextCidr };
    session.headVersion = await session.bucket.compareAndSet(
      HEAD_KEY,
      JSON.stringify(head),
      session.headVersion,
    );
    session.spoken = true;
    this.#revision = head.revision;
  }

  async #write(session: Session, documents: readonly (readonly [string, string])[]): Promise<void> {
    await Promise.all(
      documents.map(async ([key, value]) => {
        await session.bucket.put(key, value);
        session.written.set(key, value);
      }),
    );
  }

  /** Deletes what earlier leaders left, and rule sets that have been unused for long enough. */
  async #collect(session: Session, wanted: ReadonlyMap<string, string>): Promise<void> {
    const now = this.#clock.monotonic();
    const old = [...session.written.keys()].filter((key) => {
      if (wanted.has(key)) return false;
      const epoch = parseEpochKey(key)?.epoch;
      if (epoch !== undefined) return epoch < this.#epoch;
      const since = this.#unused.get(key) ?? now;
      this.#unused.set(key, since);
      return now - since >= KEEP_UNUSED_MS;
    });
    if (old.length === 0) return;
    await this.#stillOurs(session);
    for (const key of old) {
      this.#unused.delete(key);
      session.written.delete(key);
      session.bucket.delete(key).catch((error: unknown) => {
        this.#log.debug({ key, error: errorMessage(error) }, 'unused document not deleted');
      });
    }
  }

  /** Rule sets are shared by all leaders: one that was deposed must not delete what its successor refers to. */
  async #stillOurs({ bucket }: Session): Promise<void> {
    const { value } = (await bucket.get(CLAIM_KEY)) ?? {};
    const claim = value === undefined ? undefined : (JSON.parse(value) as Claim);
    if (claim?.epoch !== this.#epoch || claim.leader !== this.#name) throw deposed(claim?.epoch, this.#epoch);
  }
}

const deposed = (newest: number | undefined, ours: number): AppError =>
  new AppError('bus-conflict', `epoch ${newest} leads, ours is ${ours}`);

function documents(state: EngineState, epoch: number): Map<string, string> {
  const wanted = new Map<string, string>();
  for (const ruleSet of state.ruleSets) wanted.set(ruleSetKey(ruleSet.id), encodeOnce(ruleSet));
  for (const subject of state.subjects)
    wanted.set(subjectKey(epoch, subject.identity), encodeSubject(subject));
  for (const { prefix, identity } of state.cidrs) wanted.set(cidrKey(epoch, identity), prefix);
  return wanted;
}

/** Rule sets do not change: their text is made once. */
const encoded = new WeakMap<object, string>();
function encodeOnce(ruleSet: EngineState['ruleSets'][number]): string {
  let text = encoded.get(ruleSet);
  if (text === undefined) encoded.set(ruleSet, (text = encodeRuleSet(ruleSet)));
  return text;
}
