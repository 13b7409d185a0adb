// SPDX-License-Identifier: Apache-2.0
import { readFile } from 'node:fs/promises';
import { AppError, errorMessage } from '@cilium-ts/base';
import { ExplainResponse, type DirectionAnswer, type PolicyOrigin } from '@cilium-ts/proto';
import { post } from '../agent-client.ts';
import { printLine, printValue, type OutputOptions } from '../print.ts';

export interface ExplainOptions extends OutputOptions {
  readonly from?: string;
  readonly to?: string;
  readonly port?: string;
  readonly l7?: string;
  readonly flow?: string;
  readonly file?: string;
  readonly offline?: boolean;
}

export async function explain(options: ExplainOptions): Promise<void> {
  const { from, to, port, l7, flow, file, offline } = options;
  if (!flow && !(from && to && port))
    throw new AppError('usage', '--from, --to and --port are needed, or --flow');
  if (offline && !file) throw new AppError('usage', '--offline needs --file');
  const policies = file === undefined ? undefined : await readPolicies(file);
  const asked = { from, to, port, l7, flow, policies, offline: offline ? 'true' : undefined };
  const answer = await post<unknown>('/policy/explain', asked);
  if (await printValue(answer, options)) return;
  for (const line of explanationLines(ExplainResponse.fromJSON(answer), file)) printLine(line);
}

async function readPolicies(file: string): Promise<string> {
  try {
    return await readFile(file === '-' ? '/dev/stdin' : file, 'utf8');
  } catch (error) {
    throw new AppError('usage', `--file ${file}: ${errorMessage(error)}`);
  }
}

export interface TraceOptions extends OutputOptions {
  readonly srcK8sPod?: string;
  readonly dstK8sPod?: string;
  readonly dport?: string;
}

export async function trace(options: TraceOptions): Promise<void> {
  const { srcK8sPod, dstK8sPod, dport } = options;
  if (!srcK8sPod || !dstK8sPod || !dport)
    throw new AppError('usage', '--src-k8s-pod, --dst-k8s-pod and --dport are needed');
  const pod = (text: string): string => (text.includes('/') ? text : text.replace(':', '/'));
  await explain({ ...options, from: pod(srcK8sPod), to: pod(dstK8sPod), port: dport });
}

/** `CiliumNetworkPolicy/shop/web egress[0].toPorts[0]:6`. */
function place({ kind, namespace, name, path, line }: PolicyOrigin): string {
  const object = [kind, namespace, name].filter((part) => part !== '').join('/');
  return `${object} ${path}${line > 0 ? `:${line}` : ''}`;
}

/** The answer in words. */
export function explanationLines(answer: ExplainResponse, file?: string): string[] {
  const lines = [`Final verdict: ${answer.verdict.toUpperCase()} (port ${answer.port})`];
  for (const direction of answer.directions) lines.push(...directionLines(direction));
  for (const note of answer.notes) lines.push(`Note: ${note}`);
  const counted = 'inside spec as kubectl get -o yaml prints it';
  lines.push(`Lines are counted ${counted}${file ? `; of policies in ${file}, in the file` : ''}.`);
  return lines;
}

function directionLines(answer: DirectionAnswer): string[] {
  const { direction, verdict, matched, isolatedBy, nearestMiss } = answer;
  const lines = [`${direction}: ${verdict.toUpperCase()}`];
  if (answer.origin) lines.push(`  by ${place(answer.origin)}`);
  for (const rule of matched) {
    const where = rule.origin ? place(rule.origin) : 'the local host may always reach its pods';
    const marks = [rule.tier === 'normal' ? '' : rule.tier, rule.audited ? 'audited' : ''].filter(Boolean);
    lines.push(
      `  ${rule.won ? '*' : '-'} ${rule.verdict} ${where}${marks.length > 0 ? ` (${marks.join(', ')})` : ''}`,
    );
  }
  for (const origin of isolatedBy) lines.push(`  isolated by ${place(origin)}`);
  if (nearestMiss?.origin) lines.push(`  nearest miss: ${nearestMiss.text}: ${place(nearestMiss.origin)}`);
  return lines;
}
