// SPDX-License-Identifier: Apache-2.0
// Phase, conditions and QoS class of a pod from container states.
import { describe, expect, it } from '@jest/globals';
import type { ContainerStatus, Pod } from '@cilium-ts/kube';
import { podPhase, podStatus, qosClass, type PodObservation } from './pod-status.ts';

const running = {
  name: 'c',
  ready: true,
  state: { running: {} },
  lastState: {},
} as unknown as ContainerStatus;
const waiting = {
  name: 'c',
  ready: false,
  state: { waiting: {} },
  lastState: {},
} as unknown as ContainerStatus;
const crashed = { ...waiting, lastState: { terminated: { exitCode: 1 } } } as ContainerStatus;
const ended = (exitCode: number): ContainerStatus =>
  ({
    name: 'c',
    ready: false,
    state: { terminated: { exitCode } },
    lastState: {},
  }) as unknown as ContainerStatus;

function seen(more: Partial<PodObservation>, restartPolicy = 'Always'): PodObservation {
  return {
    pod: { metadata: { name: 'p' }, spec: { containers: [], restartPolicy } } as unknown as Pod,
    hostIps: ['192.168.77.1'],
    podIps: ['10.244.1.2', 'fd00::2'],
    sandboxReady: true,
    initialized: true,
    init: [],
    containers: [running],
    terminating: false,
    startTime: '2026-01-01T00:00:00Z',
    ...more,
  };
}

describe('podPhase', () => {
  it('is Pending until every container ran once, and Running while one restarts', () => {
    expect(podPhase(seen({ containers: [running, waiting] }))).toBe('Pending');
    expect(podPhase(seen({ containers: [running, crashed] }))).toBe('Running');
    expect(podPhase(seen({ initialized: false }))).toBe('Pending');
  });

  it('ends as the restart policy says', () => {
    expect(podPhase(seen({ containers: [ended(0)] }, 'Never'))).toBe('Succeeded');
    expect(podPhase(seen({ containers: [ended(0), ended(3)] }, 'Never'))).toBe('Failed');
    expect(podPhase(seen({ containers: [ended(0)] }, 'OnFailure'))).toBe('Succeeded');
    expect(podPhase(seen({ containers: [ended(1)] }, 'OnFailure'))).toBe('Running');
    expect(podPhase(seen({ containers: [ended(0)] }, 'Always'))).toBe('Running');
    expect(podPhase(seen({ initialized: false, init: [ended(1)] }, 'Never'))).toBe('Failed');
  });
});

describe('podStatus', () => {
  it('is ready when all containers are, and keeps conditions of others', () => {
    const base = seen({});
    const gate = { type: 'example.org/gate', status: 'False' };
    const pod = { ...base.pod, status: { conditions: [gate] } } as unknown as Pod;
    const status = podStatus({ ...base, pod });
    const byType = new Map((status.conditions ?? []).map(({ type, status: value }) => [type, value]));
    expect(byType.get('Ready')).toBe('True');
    expect(byType.get('example.org/gate')).toBe('False');
    expect(status).toMatchObject({
      podIP: '10.244.1.2',
      podIPs: [{ ip: '10.244.1.2' }, { ip: 'fd00::2' }],
      hostIP: '192.168.77.1',
    });
  });

  it('is not ready while a readiness gate is closed', () => {
    const base = seen({});
    const spec = { containers: [], readinessGates: [{ conditionType: 'g' }] };
    const status = podStatus({ ...base, pod: { ...base.pod, spec } as unknown as Pod });
    const find = (type: string): string | undefined =>
      status.conditions?.find((one) => one.type === type)?.status;
    expect([find('Ready'), find('ContainersReady')]).toEqual(['False', 'True']);
  });

  it('keeps the time of a condition whose status stays', () => {
    const base = seen({});
    const old = [{ type: 'Ready', status: 'True', lastTransitionTime: '2020-01-01T00:00:00Z' }];
    const status = podStatus({
      ...base,
      pod: { ...base.pod, status: { conditions: old } } as unknown as Pod,
    });
    expect(status.conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime).toBe(
      '2020-01-01T00:00:00Z',
    );
  });
});

describe('qosClass', () => {
  it('follows requests and limits', () => {
    const pod = (resources: object): Pod =>
      ({ metadata: { name: 'p' }, spec: { containers: [{ name: 'c', resources }] } }) as unknown as Pod;
    expect(qosClass(pod({}))).toBe('BestEffort');
    expect(qosClass(pod({ requests: { cpu: '1' } }))).toBe('Burstable');
    expect(qosClass(pod({ limits: { cpu: '1', memory: '1Gi' } }))).toBe('Guaranteed');
  });
});
