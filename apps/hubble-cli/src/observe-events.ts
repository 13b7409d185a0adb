// SPDX-License-Identifier: Apache-2.0
// hubble observe agent-events | debug-events: only agents have them, one JSON object per line.
import { ObserverDefinition } from '@cilium-ts/proto';
import { Flags, parseArguments } from './arguments.ts';
import { connect } from './connection.ts';
import { OBSERVE_FLAGS, SERVER_FLAGS } from './flags.ts';
import { parseTime } from './time-input.ts';

const DEFAULT_LAST = 20n;

export async function observeEvents(args: readonly string[]): Promise<number> {
  const { uses } = parseArguments(args.slice(1), [...OBSERVE_FLAGS, ...SERVER_FLAGS]);
  const flags = new Flags(uses);
  const { getAgentEvents, getDebugEvents } = ObserverDefinition.methods;
  const method = args[0] === 'agent-events' ? getAgentEvents : getDebugEvents;
  const follow = flags.has('follow');
  const first = flags.count('first');
  const since = flags.text('since');
  const until = flags.text('until');
  const now = Date.now();
  const client = await connect(flags);
  const abort = new AbortController();
  process.once('SIGINT', () => abort.abort());
  try {
    const request = {
      number: first ?? flags.count('last') ?? (follow || since !== undefined ? 0n : DEFAULT_LAST),
      follow,
      first: first !== undefined,
      since: since === undefined ? undefined : parseTime(since, now),
      until: until === undefined ? undefined : parseTime(until, now),
    };
    for await (const response of client.stream(ObserverDefinition, method, request, {
      signal: abort.signal,
    })) {
      const { responseType } = method as { responseType: { toJSON(message: unknown): unknown } };
      process.stdout.write(`${JSON.stringify(responseType.toJSON(response))}\n`);
    }
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  } finally {
    client.close();
  }
  return 0;
}
