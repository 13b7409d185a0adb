// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import type { UntypedObject } from '@cilium-ts/kube';
import type { Artifacts } from './layout.ts';
import { parseManifest, readManifests } from './manifests.ts';
import { runTool } from './tools.ts';

export const CHART_NAMESPACE = 'kube-system';

/** The chart's objects as the real helm renders them, definitions first. @throws AppError `tool` */
export async function renderChart(
  artifacts: Artifacts,
  valuesFiles: readonly string[],
): Promise<UntypedObject[]> {
  const own = `${artifacts.tools}/helm`;
  const helm = existsSync(own) ? own : 'helm';
  const values = [artifacts.values, ...valuesFiles].flatMap((file) => ['-f', file]);
  const [text, definitions] = await Promise.all([
    runTool(helm, ['template', 'cilium', artifacts.chart, '-n', CHART_NAMESPACE, ...values]),
    readManifests(`${artifacts.chart}/crds`),
  ]);
  return [...definitions, ...parseManifest(text, 'helm template')];
}
