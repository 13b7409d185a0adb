// SPDX-License-Identifier: Apache-2.0
// Services and slices to frontends, frontends to ids and slot ranges: plain values.
import { describe, expect, test } from '@jest/globals';
import {
  frontendKey,
  frontendsOf,
  ServiceLayout,
  SlotAllocator,
  type Frontend,
  type SliceInput,
} from './index.ts';

const service = {
  namespace: 'a',
  name: 'web',
  type: 'ClusterIP',
  clusterIps: ['10.96.0.5', 'fd00:10:96::5'],
  affinityTimeoutSeconds: 0,
  localOnly: false,
  ports: [{ name: 'http', port: 80, protocol: 6 }],
};

const slice = (over: Partial<SliceInput['endpoints'][number]>[]): SliceInput => ({
  addressFamily: 4,
  ports: [{ name: 'http', port: 8080, protocol: 6 }],
  endpoints: over.map((one, i) => ({
    addresses: [`10.0.0.${i + 1}`],
    ready: true,
    serving: true,
    terminating: false,
    node: 'n1',
    ...one,
  })),
});

describe('frontendsOf', () => {
  test('matches ports by name and families by address', () => {
    const [v4, v6] = frontendsOf(service, [slice([{}, {}])], 'n1');
    expect(v4!.backends.map((b) => `${b.address}:${b.port}`)).toEqual(['10.0.0.1:8080', '10.0.0.2:8080']);
    expect(v6!.backends).toEqual([]);
  });

  test('takes terminating backends only where nothing else serves', () => {
    const going = { ready: false, terminating: true };
    expect(frontendsOf(service, [slice([{}, going])], 'n1')[0]!.backends).toHaveLength(1);
    expect(frontendsOf(service, [slice([{ ready: false }, going])], 'n1')[0]!.backends).toMatchObject([
      { address: '10.0.0.2', state: 'terminating' },
    ]);
  });

  test('headless services have no frontend; local-only ones take the node’s own backends', () => {
    expect(frontendsOf({ ...service, clusterIps: ['None'] }, [slice([{}])], 'n1')).toEqual([]);
    const local = { ...service, localOnly: true };
    expect(frontendsOf(local, [slice([{ node: 'n2' }, {}])], 'n1')[0]!.backends).toHaveLength(1);
  });
});

test('freed slots rest before they are used again, and neighbours join', () => {
  const slots = new SlotAllocator(4, 100);
  expect([slots.allocate(2, 0), slots.allocate(2, 0), slots.allocate(1, 0)]).toEqual([0, 2, undefined]);
  slots.release({ offset: 0, count: 2 }, 0);
  slots.release({ offset: 2, count: 2 }, 0);
  expect(slots.allocate(4, 99)).toBeUndefined();
  expect(slots.allocate(4, 100)).toBe(0);
});

describe('ServiceLayout', () => {
  const frontend = (count: number): Frontend =>
    frontendsOf(service, [slice(Array.from({ length: count }, () => ({})))], 'n1')[0]!;

  test('keeps the id and moves to a fresh range when backends change', () => {
    const layout = new ServiceLayout(16);
    const first = layout.update([frontend(2)], [], 0);
    const second = layout.update([frontend(3)], [], 1);
    expect(first.services[0]![1]).toMatchObject({ id: 1, offset: 0, count: 2 });
    expect(second.services[0]![1]).toMatchObject({ id: 1, offset: 2, count: 3 });
    expect(second.reverseNat).toEqual([]);
    const removal = layout.update([], [frontendKey(frontend(3))], 2);
    expect(removal.removedServices).toHaveLength(1);
    expect(removal.removedReverseNat).toEqual([1]);
  });

  test('restores ids and leaves the old ranges alone for a while', () => {
    const layout = new ServiceLayout(16);
    const key = { addr: '10.96.0.5', port: 80, protocol: 6, scope: 0 };
    const value = { id: 7, offset: 0, count: 4, generation: 9, affinityTimeout: 0, flags: 1 };
    layout.restore([[key, value]], 0);
    expect(layout.update([frontend(2)], [], 0).services[0]![1]).toMatchObject({
      id: 7,
      offset: 4,
      generation: 10,
    });
  });

  test('says which service has no room and changes nothing', () => {
    const layout = new ServiceLayout(2);
    expect(() => layout.update([frontend(3)], [], 0)).toThrow('no room for 3 backends of a/web');
    expect([...layout.values()]).toEqual([]);
  });
});
