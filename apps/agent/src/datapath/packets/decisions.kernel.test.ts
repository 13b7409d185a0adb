// SPDX-License-Identifier: Apache-2.0
// Tested: what a CPU remembers of one rule set is never taken for another. How: more rule sets than it has places to
// remember in, one after the other for one pod and one peer, by BPF_PROG_TEST_RUN over maps filled here.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Action, PacketLab } from './packet-lab.ts';
import { TcpFlag } from './packet.ts';
import { CLIENT, FAMILIES, SERVER, packet } from './pods.ts';

const PLACES = 512;
let lab: PacketLab;
const ruleSets: { readonly ruleSet: number; readonly isOpen: boolean }[] = [];

beforeAll(async () => {
  lab = await PacketLab.create();
  await lab.addPod(CLIENT);
  await lab.addPod(SERVER);
  await lab.setPolicy(SERVER, [{ direction: 'ingress' }]);
  for (let i = 0; i < PLACES + 200; i++) {
    const isOpen = (i * 7) % 3 === 0;
    const ruleSet = await lab.setPolicy(CLIENT, isOpen ? [{ direction: 'egress' }] : []);
    ruleSets.push({ ruleSet, isOpen });
  }
}, 60_000);
afterAll(() => lab.close());

test.each(FAMILIES)('over %s', (family) => {
  let sourcePort = 20_000;
  const wrong = ruleSets.filter(({ ruleSet, isOpen }) => {
    // Without a new epoch, so that what is remembered holds.
    lab.setEndpoint(CLIENT, { ruleSet });
    const flow = {
      protocol: 'tcp',
      sourcePort: sourcePort++,
      destinationPort: 8080,
      tcpFlags: TcpFlag.syn,
    } as const;
    const passed = lab.fromPod(CLIENT, packet(family, CLIENT, SERVER, flow)).action === Action.redirect;
    return passed !== isOpen;
  });
  expect(wrong).toEqual([]);
});
