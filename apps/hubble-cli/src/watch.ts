// SPDX-License-Identifier: Apache-2.0
// hubble watch peers
import { changeNotificationTypeToJSON, PeerDefinition, type ChangeNotification } from '@cilium-ts/proto';
import { Flags, parseArguments, usage } from './arguments.ts';
import { connect } from './connection.ts';
import { SERVER_FLAGS } from './flags.ts';

export async function watch(args: readonly string[]): Promise<number> {
  const { uses, words } = parseArguments(args, SERVER_FLAGS);
  if (words.length !== 1 || !['peer', 'peers'].includes(words[0]!)) throw usage('hubble watch needs peers');
  const client = await connect(new Flags(uses));
  const abort = new AbortController();
  process.once('SIGINT', () => abort.abort());
  try {
    const stream = client.stream(PeerDefinition, PeerDefinition.methods.notify, {}, { signal: abort.signal });
    for await (const change of stream) process.stdout.write(peerText(change as ChangeNotification));
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  } finally {
    client.close();
  }
  return 0;
}

function peerText(change: ChangeNotification): string {
  const tls = change.tls ? ` (TLS.ServerName: ${change.tls.serverName})` : '';
  return `${changeNotificationTypeToJSON(change.type).padEnd(12)} ${change.address} ${change.name}${tls}\n`;
}
