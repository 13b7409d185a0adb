// SPDX-License-Identifier: Apache-2.0
// Tested: line numbers of paths. How: the text that kubectl printed for an object, written beside it.
import { expect, test } from '@jest/globals';
import { yamlLines } from './index.ts';

const spec = {
  description:
    'a rather long text that goes on and on until it is certainly longer than eighty columns and then some',
  endpointSelector: { matchLabels: { a10: 'x', a9: 'v', app: 'frontend', A: 'z' } },
  egress: [
    {},
    {
      toEndpoints: [{}, { matchLabels: { app: 'backend' } }],
      toPorts: [
        { ports: [{ protocol: 'TCP', port: '8080' }], rules: { http: [{ path: '/', method: 'GET' }] } },
      ],
    },
  ],
  labels: [{ value: 'one\ntwo\n', key: 'k' }],
  log: { value: 'x' },
};

/** Below `spec:`, as printed. */
const PRINTED: readonly (readonly [string, string | undefined])[] = [
  ['  description: a rather long text that goes on and on until it is certainly longer', 'description'],
  ['    than eighty columns and then some', undefined],
  ['  egress:', 'egress'],
  ['  - {}', 'egress[0]'],
  ['  - toEndpoints:', 'egress[1]'],
  ['    - {}', 'egress[1].toEndpoints[0]'],
  ['    - matchLabels:', 'egress[1].toEndpoints[1]'],
  ['        app: backend', 'egress[1].toEndpoints[1].matchLabels.app'],
  ['    toPorts:', 'egress[1].toPorts'],
  ['    - ports:', 'egress[1].toPorts[0]'],
  ['      - port: "8080"', 'egress[1].toPorts[0].ports[0]'],
  ['        protocol: TCP', 'egress[1].toPorts[0].ports[0].protocol'],
  ['      rules:', 'egress[1].toPorts[0].rules'],
  ['        http:', 'egress[1].toPorts[0].rules.http'],
  ['        - method: GET', 'egress[1].toPorts[0].rules.http[0]'],
  ['          path: /', 'egress[1].toPorts[0].rules.http[0].path'],
  ['  endpointSelector:', 'endpointSelector'],
  ['    matchLabels:', 'endpointSelector.matchLabels'],
  ['      A: z', 'endpointSelector.matchLabels.A'],
  ['      a9: v', 'endpointSelector.matchLabels.a9'],
  ['      a10: x', 'endpointSelector.matchLabels.a10'],
  ['      app: frontend', 'endpointSelector.matchLabels.app'],
  ['  labels:', 'labels'],
  ['  - key: k', 'labels[0]'],
  ['    value: |', 'labels[0].value'],
  ['      one', undefined],
  ['      two', undefined],
  ['  log:', 'log'],
];

test('each path has the line that kubectl prints it on', () => {
  const lines = yamlLines(spec);
  const wrong = PRINTED.flatMap(([text, path], index) =>
    path === undefined || lines.get(path) === index + 1
      ? []
      : [`${path}: ${lines.get(path)}, printed at ${index + 1} (${text})`],
  );
  expect(wrong).toEqual([]);
});

test('several specs are counted in their common list', () => {
  const lines = yamlLines([{ egress: [{}] }, { egress: [{}], endpointSelector: {} }]);
  expect(lines.get('[1].egress[0]')).toBe(4);
});
