// SPDX-License-Identifier: Apache-2.0
// Tests the cluster DNS: names of services and pods, negative answers, sizes, forwarding.
// Zone data is given by hand; queries go to the real server over UDP and TCP, the upstream is another real one.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import packet, { type DnsMessage, type DnsRecord } from 'dns-packet';
import { Lifecycle, silentLogger } from '@cilium-ts/base';
import { Responder } from './responder.ts';
import { startDnsServer, startProbe } from './server.ts';
import { Upstream } from './upstream.ts';
import { dashed, undashed, type ZoneData, type ZoneEndpoint, type ZoneService } from './zone-data.ts';
import { Zone, reverseAddress } from './zone.ts';

const PORTS = [{ name: 'http', protocol: 'tcp', port: 8080 }];

function service(name: string, addresses: string[], externalName?: string): ZoneService {
  return { name, namespace: 'production', addresses, externalName, ports: PORTS };
}

const SERVICES: Record<string, ZoneService> = {
  backend: service('backend', ['10.96.0.20', 'fd00:10:96::20']),
  peers: service('peers', []),
  empty: service('empty', []),
  crowd: service('crowd', []),
  near: service('near', [], 'backend.production.svc.cluster.local'),
  away: service('away', [], 'www.example.org'),
};
const ENDPOINTS: Record<string, ZoneEndpoint[]> = {
  peers: [
    { address: '10.244.1.5', label: 's-0', ports: PORTS },
    { address: '10.244.2.5', label: '10-244-2-5', ports: PORTS },
  ],
  crowd: Array.from({ length: 120 }, (_, i) => ({ address: `10.244.1.${i}`, label: `p-${i}`, ports: PORTS })),
};
const data: ZoneData = {
  service: (namespace, name) => (namespace === 'production' ? SERVICES[name] : undefined),
  endpoints: (_namespace, name) => ENDPOINTS[name] ?? [],
  hasNamespace: (name) => name === 'production',
  namesOf: (address) => (address === '10.96.0.20' ? ['backend.production.svc'] : []),
};

const parts = new Lifecycle();
let port = 0;
let upstream: UdpSocket;

function query(name: string, type: string, extra: Partial<DnsMessage> = {}): Buffer {
  return packet.encode({
    type: 'query',
    id: Math.floor(Math.random() * 65_536),
    flags: packet.RECURSION_DESIRED,
    questions: [{ name, type }],
    ...extra,
  });
}

function sendUdp(message: Buffer, to = port, host = '127.0.0.1'): Promise<Buffer> {
  return new Promise((resolve) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    socket.once('message', (answer) => {
      socket.close();
      resolve(answer);
    });
    socket.send(message, to, host);
  });
}

function sendTcp(messages: readonly Buffer[], count: number): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let received = Buffer.alloc(0);
    const answers: Buffer[] = [];
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const end = 2 + received.readUInt16BE(0);
        answers.push(received.subarray(2, end));
        received = received.subarray(end);
      }
      if (answers.length === count) {
        socket.destroy();
        resolve(answers);
      }
    });
    const framed = messages.map((one) =>
      Buffer.concat([Buffer.from([one.length >> 8, one.length & 255]), one]),
    );
    const bytes = Buffer.concat(framed);
    // In two pieces, cut inside the length.
    socket.write(bytes.subarray(0, 1));
    socket.write(bytes.subarray(1));
  });
}

async function ask(name: string, type = 'A', extra: Partial<DnsMessage> = {}): Promise<DnsMessage> {
  return packet.decode(await sendUdp(query(name, type, extra)));
}

const values = (records: DnsRecord[] | undefined): unknown[] =>
  (records ?? []).map((record) => record.data).sort();

beforeAll(async () => {
  upstream = createSocket('udp4');
  upstream.on('message', (message, peer) => {
    const asked = packet.decode(message);
    const question = asked.questions![0]!;
    const answers = [{ name: question.name, type: 'A', ttl: 60, data: '192.0.2.7' }];
    const answer = packet.encode({ type: 'response', id: asked.id!, questions: [question], answers });
    upstream.send(answer, peer.port, peer.address);
  });
  await new Promise<void>((resolve) => upstream.bind(0, '127.0.0.1', resolve));
  parts.onStop(() => void upstream.close());
  const forward = new Upstream(['127.0.0.1'], (upstream.address() as AddressInfo).port);
  const responder = new Responder(new Zone('cluster.local', data), forward);
  const server = parts.add(await startDnsServer(responder, 0, silentLogger));
  port = server.port;
});

afterAll(() => parts.stop());

describe('services', () => {
  it('have A and AAAA records with a short life, whatever the case of the question', async () => {
    const answer = await ask('Backend.Production.svc.cluster.local');
    expect(answer.rcode).toBe('NOERROR');
    expect(answer.answers).toMatchObject([{ type: 'A', ttl: 5, data: '10.96.0.20' }]);
    expect(answer.answers![0]!.name).toBe('Backend.Production.svc.cluster.local');
    expect(values((await ask('backend.production.svc.cluster.local', 'AAAA')).answers)).toEqual([
      'fd00:10:96::20',
    ]);
  });

  it('have SRV records by port name, with addresses of the target', async () => {
    const answer = await ask('_http._tcp.backend.production.svc.cluster.local', 'SRV');
    expect(answer.answers).toMatchObject([
      { type: 'SRV', data: { port: 8080, target: 'backend.production.svc.cluster.local' } },
    ]);
    expect(values(answer.additionals)).toEqual(['10.96.0.20', 'fd00:10:96::20']);
    expect((await ask('_none._tcp.backend.production.svc.cluster.local', 'SRV')).rcode).toBe('NXDOMAIN');
  });

  it('without an address of their own answer with all their ready pods', async () => {
    const answer = await ask('peers.production.svc.cluster.local');
    expect(values(answer.answers)).toEqual(['10.244.1.5', '10.244.2.5']);
    expect(values((await ask('s-0.peers.production.svc.cluster.local')).answers)).toEqual(['10.244.1.5']);
    expect(values((await ask('10-244-2-5.peers.production.svc.cluster.local')).answers)).toEqual([
      '10.244.2.5',
    ]);
    expect((await ask('s-9.peers.production.svc.cluster.local')).rcode).toBe('NXDOMAIN');
    expect((await ask('empty.production.svc.cluster.local')).rcode).toBe('NXDOMAIN');
    const srv = await ask('_http._tcp.peers.production.svc.cluster.local', 'SRV');
    expect(srv.answers!.map((record) => (record.data as { target: string }).target).sort()).toEqual([
      '10-244-2-5.peers.production.svc.cluster.local',
      's-0.peers.production.svc.cluster.local',
    ]);
  });

  it('with an external name are aliases, followed inside and outside of the cluster', async () => {
    const near = await ask('near.production.svc.cluster.local');
    expect(near.answers!.map(({ type, data: value }) => [type, value])).toEqual([
      ['CNAME', 'backend.production.svc.cluster.local'],
      ['A', '10.96.0.20'],
    ]);
    const away = await ask('away.production.svc.cluster.local');
    expect(away.answers!.map(({ type, data: value }) => [type, value])).toEqual([
      ['CNAME', 'www.example.org'],
      ['A', '192.0.2.7'],
    ]);
  });
});

describe('other names of the zone', () => {
  it('of pods are their addresses', async () => {
    expect(values((await ask('10-244-1-9.production.pod.cluster.local')).answers)).toEqual(['10.244.1.9']);
    expect(values((await ask('fd00--9.production.pod.cluster.local', 'AAAA')).answers)).toEqual(['fd00::9']);
    expect((await ask('10-244-1-9.nowhere.pod.cluster.local')).rcode).toBe('NXDOMAIN');
    expect(dashed(undashed('10-1-2-3')!)).toBe('10-1-2-3');
  });

  it('that do not exist are NXDOMAIN, existing ones without such a record are empty; both with the SOA', async () => {
    const missing = await ask('nothing.production.svc.cluster.local');
    expect([missing.rcode, missing.authorities?.[0]?.type]).toEqual(['NXDOMAIN', 'SOA']);
    const empty = await ask('backend.production.svc.cluster.local', 'TXT');
    expect([empty.rcode, empty.answers, empty.authorities?.[0]?.type]).toEqual(['NOERROR', [], 'SOA']);
    expect((await ask('production.svc.cluster.local')).rcode).toBe('NOERROR');
    expect((await ask('svc.cluster.local')).rcode).toBe('NOERROR');
    expect((await ask('example.org.production.svc.cluster.local')).rcode).toBe('NXDOMAIN');
  });

  it('lead back from addresses', async () => {
    const answer = await ask('20.0.96.10.in-addr.arpa', 'PTR');
    expect(values(answer.answers)).toEqual(['backend.production.svc.cluster.local']);
    expect((await ask('21.0.96.10.in-addr.arpa', 'PTR')).rcode).toBe('NXDOMAIN');
    const reverse = `${'1'.padEnd(31, '0').split('').join('.')}.f.ip6.arpa`;
    expect(reverseAddress(reverse)).toBe('f000::1');
  });
});

describe('the protocol', () => {
  it('cuts answers that are too long, answers them whole by TCP, several on one connection', async () => {
    const name = 'crowd.production.svc.cluster.local';
    const cut = await sendUdp(query(name, 'A'));
    expect(cut.length).toBeLessThanOrEqual(512);
    expect(packet.decode(cut)).toMatchObject({ flag_tc: true, answers: [] });
    const whole = await sendTcp([query(name, 'A'), query('backend.production.svc.cluster.local', 'A')], 2);
    const sizes = whole.map((answer) => packet.decode(answer).answers!.length).sort((a, b) => a - b);
    expect(sizes).toEqual([1, 120]);
  });

  it('uses what EDNS allows and answers with EDNS only where it was asked so', async () => {
    const opt = { name: '.', type: 'OPT', udpPayloadSize: 4096, flags: 0, options: [] };
    const answer = await ask('backend.production.svc.cluster.local', 'A', { additionals: [opt] });
    expect(answer.additionals?.map(({ type }) => type)).toEqual(['OPT']);
    expect((await ask('backend.production.svc.cluster.local')).additionals).toEqual([]);
  });

  it('refuses garbage with FORMERR and ignores what is no query', async () => {
    const broken = query('backend.production.svc.cluster.local', 'A').subarray(0, 20);
    expect((await sendUdp(broken)).readUInt8(3) & 0xf).toBe(1);
    const socket = createSocket('udp4');
    socket.send(Buffer.from([1, 2, 3]), port, '127.0.0.1');
    expect((await ask('backend.production.svc.cluster.local')).rcode).toBe('NOERROR');
    socket.close();
  });

  it('answers over IPv6', async () => {
    const answer = await sendUdp(query('backend.production.svc.cluster.local', 'A'), port, '::1');
    expect(packet.decode(answer).rcode).toBe('NOERROR');
  });

  it('forwards other names, and says SERVFAIL where nobody answers', async () => {
    expect(values((await ask('www.example.org')).answers)).toEqual(['192.0.2.7']);
    const alone = new Responder(new Zone('cluster.local', data), new Upstream([]));
    const answer = await alone.answer(query('www.example.org', 'A'), 'udp');
    expect(answer!.readUInt8(3) & 0xf).toBe(2);
  });
});

describe('probes', () => {
  it('are well only when ready', async () => {
    let ready = false;
    const probe = parts.add(await startProbe(0, '/ready', () => ready));
    const status = async (path: string): Promise<number> =>
      (await fetch(`http://127.0.0.1:${probe.port}${path}`)).status;
    expect(await status('/ready')).toBe(503);
    ready = true;
    expect(await status('/ready')).toBe(200);
    expect(await status('/other')).toBe(404);
  });
});
