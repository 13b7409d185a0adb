// SPDX-License-Identifier: Apache-2.0
// A container's environment and the $(NAME) references in its command. Pure, apart from what the lookups give.
import type { ConfigMap, Container, Pod, Secret, Service } from '@cilium-ts/kube';
import { fieldValue, resourceValue } from './downward.ts';
import { ContainerConfigError, type PodFacts } from './pod-facts.ts';

/** What environment and volumes look up; undefined where the object does not exist (yet). */
export interface ObjectLookup {
  configMap(namespace: string, name: string): ConfigMap | undefined;
  secret(namespace: string, name: string): Secret | undefined;
  services(namespace: string): Service[];
}

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Expands $(NAME); $$ is a dollar sign; an unknown name stays as it is. */
export function expand(text: string, known: ReadonlyMap<string, string>): string {
  return text.replace(/\$\$|\$\(([^)\s]*)\)/g, (whole, name: string | undefined) =>
    whole === '$$' ? '$' : (known.get(name ?? '') ?? whole),
  );
}

/** @throws ContainerConfigError naming the object or key that is missing */
export function containerEnvironment(
  facts: PodFacts,
  container: Container,
  lookup: ObjectLookup,
  api: { readonly host: string; readonly port: string },
): Map<string, string> {
  const namespace = facts.pod.metadata.namespace ?? 'default';
  const env = new Map<string, string>([
    ['PATH', DEFAULT_PATH],
    ['HOSTNAME', facts.pod.spec?.hostNetwork ? facts.nodeName : hostnameOf(facts.pod)],
  ]);
  addServices(env, facts, lookup, api);
  for (const source of container.envFrom ?? []) addAll(env, source, namespace, lookup);
  for (const entry of container.env ?? []) {
    const value = entry.valueFrom
      ? valueFrom(entry.valueFrom, facts, container, lookup)
      : expand(entry.value ?? '', env);
    if (value !== undefined) env.set(entry.name, value);
  }
  if (!env.has('HOME')) env.set('HOME', '/root');
  return env;
}

export function hostnameOf(pod: Pod): string {
  return (pod.spec?.hostname ?? pod.metadata.name).slice(0, 63).replace(/[.-]+$/, '');
}

function addServices(
  env: Map<string, string>,
  facts: PodFacts,
  lookup: ObjectLookup,
  api: { readonly host: string; readonly port: string },
): void {
  env.set('KUBERNETES_SERVICE_HOST', api.host);
  env.set('KUBERNETES_SERVICE_PORT', api.port);
  env.set('KUBERNETES_SERVICE_PORT_HTTPS', api.port);
  env.set('KUBERNETES_PORT', `tcp://${api.host}:${api.port}`);
  if (facts.pod.spec?.enableServiceLinks === false) return;
  for (const service of lookup.services(facts.pod.metadata.namespace ?? 'default')) {
    const ip = service.spec?.clusterIP;
    const [first] = service.spec?.ports ?? [];
    if (!ip || ip === 'None' || !first || service.metadata.name === 'kubernetes') continue;
    const name = service.metadata.name.toUpperCase().replace(/-/g, '_');
    env.set(`${name}_SERVICE_HOST`, ip);
    env.set(`${name}_SERVICE_PORT`, String(first.port));
    env.set(`${name}_PORT`, `${(first.protocol ?? 'TCP').toLowerCase()}://${ip}:${first.port}`);
    for (const port of service.spec?.ports ?? []) {
      if (port.name)
        env.set(`${name}_SERVICE_PORT_${port.name.toUpperCase().replace(/-/g, '_')}`, String(port.port));
    }
  }
}

function addAll(
  env: Map<string, string>,
  source: NonNullable<Container['envFrom']>[number],
  namespace: string,
  lookup: ObjectLookup,
): void {
  const prefix = source.prefix ?? '';
  if (source.configMapRef) {
    const { name = '', optional } = source.configMapRef;
    const object = lookup.configMap(namespace, name);
    if (!object && !optional) throw new ContainerConfigError(`configmap "${name}" not found`);
    for (const [key, value] of Object.entries(object?.data ?? {})) env.set(prefix + key, value ?? '');
  }
  if (source.secretRef) {
    const { name = '', optional } = source.secretRef;
    const object = lookup.secret(namespace, name);
    if (!object && !optional) throw new ContainerConfigError(`secret "${name}" not found`);
    for (const [key, value] of Object.entries(object?.data ?? {})) {
      env.set(prefix + key, Buffer.from(value ?? '', 'base64').toString());
    }
  }
}

type ValueSource = NonNullable<NonNullable<Container['env']>[number]['valueFrom']>;

function valueFrom(
  source: ValueSource,
  facts: PodFacts,
  container: Container,
  lookup: ObjectLookup,
): string | undefined {
  const namespace = facts.pod.metadata.namespace ?? 'default';
  if (source.fieldRef) return fieldValue(facts, source.fieldRef.fieldPath);
  if (source.resourceFieldRef) {
    const { resource, divisor, containerName } = source.resourceFieldRef;
    const named = facts.pod.spec?.containers.find(({ name }) => name === containerName) ?? container;
    return resourceValue(named, resource, divisor);
  }
  const ref = source.configMapKeyRef ?? source.secretKeyRef;
  if (!ref) return undefined;
  const kind = source.configMapKeyRef ? 'configmap' : 'secret';
  const name = ref.name ?? '';
  const object = source.configMapKeyRef ? lookup.configMap(namespace, name) : lookup.secret(namespace, name);
  const raw = object?.data?.[ref.key];
  if (raw === undefined) {
    if (ref.optional) return undefined;
    throw new ContainerConfigError(
      object ? `couldn't find key ${ref.key} in ${kind} ${namespace}/${name}` : `${kind} "${name}" not found`,
    );
  }
  return kind === 'secret' ? Buffer.from(raw, 'base64').toString() : raw;
}
