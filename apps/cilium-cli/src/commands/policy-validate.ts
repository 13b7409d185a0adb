// SPDX-License-Identifier: Apache-2.0
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, errorMessage } from '@cilium-ts/base';
import { findConflicts, policyKey, reviewPolicies, type ParsedPolicy, type Problem } from '@cilium-ts/policy';
import { parsePolicyText, type TextPolicy } from '@cilium-ts/policy/text';
import { EXIT } from '@cilium-ts/terminal';
import { printLine, printValue, type OutputOptions } from '../print.ts';

export interface ValidateOptions extends OutputOptions {
  readonly cluster: string;
  readonly hostFirewall?: boolean;
}

/** One problem of a file, as `-o json` prints it. */
export interface FileProblem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly severity: 'error' | 'warning';
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly path: string;
  readonly message: string;
}

export interface Validation {
  readonly valid: boolean;
  readonly policies: number;
  readonly problems: readonly FileProblem[];
}

interface Named {
  readonly file: string;
  readonly text: string;
}

export async function validate(files: readonly string[], options: ValidateOptions): Promise<void> {
  const texts: Named[] = [];
  for (const file of files) texts.push(...(await readTexts(file)));
  const { cluster, hostFirewall = false } = options;
  const validation = validateTexts(texts, { cluster, hostFirewall });
  if (validation.policies === 0 && validation.valid)
    throw new AppError('no-policy', `no policy in ${files.join(', ')}`);
  if (!validation.valid) process.exitCode = EXIT.failed;
  if (await printValue(validation, options)) return;
  for (const line of problemLines(validation)) printLine(line);
}

async function readTexts(path: string): Promise<Named[]> {
  try {
    if (path === '-') return [{ file: '-', text: await readFile('/dev/stdin', 'utf8') }];
    if (!(await stat(path)).isDirectory()) return [{ file: path, text: await readFile(path, 'utf8') }];
    const found = await readdir(path, { recursive: true, withFileTypes: true });
    const names = found
      .filter((entry) => entry.isFile() && /\.(ya?ml|json)$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name));
    return await Promise.all(
      names.sort().map(async (file) => ({ file, text: await readFile(file, 'utf8') })),
    );
  } catch (error) {
    throw new AppError('bad-file', `${path}: ${errorMessage(error)}`);
  }
}

/** Kinds of the API groups that hold policies. Kinds of other groups are somebody else's, whatever they are called. */
const GROUPS: Readonly<Record<string, { versions: string[]; policies: string[]; others: string[] }>> = {
  'cilium.io': {
    versions: ['v2'],
    policies: ['CiliumNetworkPolicy', 'CiliumClusterwideNetworkPolicy'],
    others: [
      'CiliumBGPAdvertisement',
      'CiliumBGPClusterConfig',
      'CiliumBGPNodeConfig',
      'CiliumBGPNodeConfigOverride',
      'CiliumBGPPeerConfig',
      'CiliumCIDRGroup',
      'CiliumClusterwideEnvoyConfig',
      'CiliumEgressGatewayPolicy',
      'CiliumEndpoint',
      'CiliumEndpointSlice',
      'CiliumEnvoyConfig',
      'CiliumGatewayClassConfig',
      'CiliumIdentity',
      'CiliumL2AnnouncementPolicy',
      'CiliumLoadBalancerIPPool',
      'CiliumLocalRedirectPolicy',
      'CiliumNode',
      'CiliumNodeConfig',
      'CiliumPodIPPool',
      'CiliumVTEPConfig',
    ],
  },
  'networking.k8s.io': {
    versions: ['v1'],
    policies: ['NetworkPolicy'],
    others: ['Ingress', 'IngressClass', 'IPAddress', 'ServiceCIDR'],
  },
  'policy.networking.k8s.io': { versions: ['v1alpha2'], policies: ['ClusterNetworkPolicy'], others: [] },
};
const POLICY_KINDS = Object.values(GROUPS).flatMap(({ policies }) => policies);

/** What is wrong with the type of a document; `skip` where it is no business of ours. */
function typeProblem({ apiVersion, kind }: TextPolicy): Problem | 'skip' | undefined {
  const [group = '', version = ''] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
  const known = GROUPS[group];
  if (!known) {
    if (apiVersion !== '' || !POLICY_KINDS.includes(kind)) return 'skip';
    return { path: 'apiVersion', message: `is missing; ${kind} needs one` };
  }
  if (known.others.includes(kind)) return 'skip';
  if (!known.policies.includes(kind)) {
    const message = `${JSON.stringify(kind)} is not a kind of ${group}; its policies: ${known.policies.join(', ')}`;
    return { path: 'kind', message };
  }
  if (known.versions.includes(version)) return undefined;
  return {
    path: 'apiVersion',
    message: `${JSON.stringify(version)} is not one of ${known.versions.join(', ')}`,
  };
}

interface Entry {
  readonly file: string;
  readonly policy: TextPolicy;
}

/** Checks every policy of the texts, alone and as one set. */
export function validateTexts(
  texts: readonly Named[],
  options: { readonly cluster: string; readonly hostFirewall?: boolean },
): Validation {
  const problems: FileProblem[] = [];
  const parsed = new Map<ParsedPolicy, Entry>();
  const keys = new Map<string, FileProblem>();
  let policies = 0;
  for (const { file, text } of texts) {
    for (const policy of readText(text, options)) {
      const entry = { file, policy };
      const broken = policy.kind === '' && !policy.result.ok && policy.result.error[0]?.path === '';
      const type = broken ? undefined : typeProblem(policy);
      if (type === 'skip') continue;
      policies++;
      if (type) problems.push(placed(entry, type, 'error'));
      if (type?.path === 'kind') continue;
      if (!policy.result.ok) {
        problems.push(...policy.result.error.map((problem) => placed(entry, problem, 'error')));
        continue;
      }
      const key = policyKey(policy.result.value.id);
      const first = keys.get(key);
      const here = placed(entry, { path: 'metadata.name', message: '' }, 'error');
      if (first) problems.push({ ...here, message: `is defined already in ${first.file}:${first.line}` });
      else keys.set(key, here);
      parsed.set(policy.result.value, entry);
    }
  }
  for (const finding of findConflicts([...parsed.keys()]))
    problems.push(placed(parsed.get(finding.policy)!, finding, 'error'));
  for (const finding of reviewPolicies([...parsed.keys()]))
    problems.push(placed(parsed.get(finding.policy)!, finding, 'warning'));
  const order = new Map(texts.map(({ file }, index) => [file, index]));
  problems.sort((a, b) => order.get(a.file)! - order.get(b.file)! || a.line - b.line || a.column - b.column);
  return { valid: problems.every(({ severity }) => severity === 'warning'), policies, problems };
}

function readText(text: string, options: Parameters<typeof parsePolicyText>[1]): TextPolicy[] {
  try {
    return parsePolicyText(text, options);
  } catch (error) {
    // What the YAML reader refuses to expand.
    const place = { line: 1, column: 1 };
    const result = { ok: false as const, error: [{ path: '', message: errorMessage(error) }] };
    const places = { lineOf: () => 1, placeOf: () => place };
    return [{ apiVersion: '', kind: '', namespace: undefined, name: '', result, ...places }];
  }
}

function placed(
  { file, policy }: Entry,
  { path, message }: Problem,
  severity: FileProblem['severity'],
): FileProblem {
  const { kind, namespace, name, placeOf } = policy;
  const names = { kind, ...(namespace === undefined ? {} : { namespace }), name };
  return { file, ...placeOf(path), severity, ...names, path, message };
}

/** `file:line:column: error: kind/namespace/name path: message`, and a line of counts. */
export function problemLines({ problems, policies }: Validation): string[] {
  const lines = problems.map((problem) => {
    const object = [problem.kind, problem.namespace, problem.name].filter(Boolean).join('/');
    const where = [object, problem.path].filter(Boolean).join(' ');
    const place = `${problem.file}:${problem.line}:${problem.column}`;
    return `${place}: ${problem.severity}: ${where === '' ? '' : `${where}: `}${problem.message}`;
  });
  const count = (severity: string): number => problems.filter((each) => each.severity === severity).length;
  return [...lines, `${policies} policies, ${count('error')} errors, ${count('warning')} warnings`];
}
