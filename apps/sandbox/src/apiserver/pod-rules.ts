// SPDX-License-Identifier: Apache-2.0
import type { Dict, FieldError, KindRules, KubeObject } from './model.ts';
import { jsonEqual } from './model.ts';
import { checkDnsLabel, checkLabels } from './names.ts';
import { field } from './status.ts';

const list = (value: unknown): Dict[] => (Array.isArray(value) ? (value as Dict[]) : []);

/** Defaults of a pod spec, in a pod or in a template. */
export function setPodSpecDefaults(spec: Dict): void {
  spec.restartPolicy ??= 'Always';
  spec.dnsPolicy ??= 'ClusterFirst';
  spec.schedulerName ??= 'default-scheduler';
  spec.terminationGracePeriodSeconds ??= 30;
  spec.securityContext ??= {};
  if (spec.serviceAccountName === undefined && spec.serviceAccount)
    spec.serviceAccountName = spec.serviceAccount as unknown;
  else if (spec.serviceAccountName) spec.serviceAccount = spec.serviceAccountName as unknown;
  for (const container of [...list(spec.containers), ...list(spec.initContainers)])
    setContainerDefaults(container, spec.hostNetwork === true);
  for (const volume of list(spec.volumes)) setVolumeDefaults(volume);
}

function setContainerDefaults(container: Dict, hostNetwork: boolean): void {
  container.resources ??= {};
  container.terminationMessagePath ??= '/dev/termination-log';
  container.terminationMessagePolicy ??= 'File';
  const image = String(container.image ?? '');
  const untagged = !image.includes('@') && (!/:[^/]+$/.test(image) || image.endsWith(':latest'));
  container.imagePullPolicy ??= untagged ? 'Always' : 'IfNotPresent';
  for (const port of list(container.ports)) {
    port.protocol ??= 'TCP';
    if (hostNetwork) port.hostPort ??= port.containerPort as unknown;
  }
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = container[name] as Dict | undefined;
    if (!probe) continue;
    probe.timeoutSeconds ??= 1;
    probe.periodSeconds ??= 10;
    probe.successThreshold ??= 1;
    probe.failureThreshold ??= 3;
    if (probe.httpGet) setHttpDefaults(probe.httpGet as Dict);
    if (probe.grpc) probe.grpc.service ??= '';
  }
  for (const hook of Object.values((container.lifecycle ?? {}) as Dict))
    if ((hook as Dict | undefined)?.httpGet) setHttpDefaults((hook as Dict).httpGet as Dict);
  for (const item of list(container.env)) {
    const reference = item.valueFrom?.fieldRef as Dict | undefined;
    if (reference) reference.apiVersion ??= 'v1';
  }
}

function setHttpDefaults(get: Dict): void {
  get.path ??= '/';
  get.scheme ??= 'HTTP';
}

function setVolumeDefaults(volume: Dict): void {
  const kinds = Object.keys(volume).filter((key) => key !== 'name');
  if (kinds.length === 0) volume.emptyDir = {};
  for (const key of ['configMap', 'secret', 'downwardAPI', 'projected'])
    if (volume[key]) volume[key].defaultMode ??= 0o644;
  if (volume.hostPath) volume.hostPath.type ??= '';
  for (const source of list(volume.projected?.sources)) {
    if (source.serviceAccountToken) source.serviceAccountToken.expirationSeconds ??= 3600;
    for (const item of list(source.downwardAPI?.items)) if (item.fieldRef) item.fieldRef.apiVersion ??= 'v1';
  }
  for (const item of list(volume.downwardAPI?.items)) if (item.fieldRef) item.fieldRef.apiVersion ??= 'v1';
}

/** Checks a pod spec found at `path`. */
export function checkPodSpec(spec: Dict | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const containers = list(spec?.containers);
  if (containers.length === 0) errors.push(field.required(`${path}.containers`));
  const names = new Set<string>();
  const volumes = new Set(list(spec?.volumes).map((volume) => volume.name as string));
  const visit = (container: Dict, at: string): void => {
    errors.push(...checkContainer(container, at, volumes));
    const name = String(container.name ?? '');
    if (name && names.has(name)) errors.push(field.duplicate(`${at}.name`, name));
    names.add(name);
  };
  list(spec?.initContainers).forEach((container, index) =>
    visit(container, `${path}.initContainers[${index}]`),
  );
  containers.forEach((container, index) => visit(container, `${path}.containers[${index}]`));
  errors.push(...checkVolumes(list(spec?.volumes), `${path}.volumes`));
  errors.push(...checkChoice(spec?.restartPolicy, ['Always', 'OnFailure', 'Never'], `${path}.restartPolicy`));
  const policies = ['ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None'];
  errors.push(...checkChoice(spec?.dnsPolicy, policies, `${path}.dnsPolicy`));
  if (spec?.dnsPolicy === 'None' && !spec.dnsConfig?.nameservers?.length)
    errors.push(
      field.required(
        `${path}.dnsConfig.nameservers`,
        `must provide at least one DNS nameserver when \`dnsPolicy\` is "None"`,
      ),
    );
  if (spec?.terminationGracePeriodSeconds < 0)
    errors.push(
      field.invalid(
        `${path}.terminationGracePeriodSeconds`,
        spec!.terminationGracePeriodSeconds,
        'must be greater than or equal to 0',
      ),
    );
  errors.push(...checkLabels(spec?.nodeSelector, `${path}.nodeSelector`));
  return errors;
}

function checkChoice(value: unknown, allowed: readonly string[], path: string): FieldError[] {
  return value === undefined || allowed.includes(value as string)
    ? []
    : [field.unsupported(path, value, allowed)];
}

function checkContainer(container: Dict, path: string, volumes: ReadonlySet<string>): FieldError[] {
  const errors = checkDnsLabel(container.name, `${path}.name`);
  if (!container.image) errors.push(field.required(`${path}.image`));
  errors.push(
    ...checkChoice(container.imagePullPolicy, ['Always', 'IfNotPresent', 'Never'], `${path}.imagePullPolicy`),
  );
  const portNames = new Set<string>();
  for (const [index, port] of list(container.ports).entries()) {
    const at = `${path}.ports[${index}]`;
    errors.push(...checkPort(port.containerPort, `${at}.containerPort`));
    if (port.hostPort !== undefined && port.hostPort !== 0)
      errors.push(...checkPort(port.hostPort, `${at}.hostPort`));
    errors.push(...checkChoice(port.protocol, ['SCTP', 'TCP', 'UDP'], `${at}.protocol`));
    if (port.name) {
      errors.push(...checkPortName(port.name as string, `${at}.name`));
      if (portNames.has(port.name as string)) errors.push(field.duplicate(`${at}.name`, port.name));
      portNames.add(port.name as string);
    }
  }
  for (const [index, item] of list(container.env).entries()) {
    if (!item.name) errors.push(field.required(`${path}.env[${index}].name`));
    if (item.value && item.valueFrom)
      errors.push(
        field.invalid(
          `${path}.env[${index}].valueFrom`,
          '',
          'may not be specified when `value` is not empty',
        ),
      );
  }
  const mountPaths = new Set<string>();
  for (const [index, mount] of list(container.volumeMounts).entries()) {
    const at = `${path}.volumeMounts[${index}]`;
    if (!mount.name) errors.push(field.required(`${at}.name`));
    // `Not found` is the API's own reason; the client shows the message.
    else if (!volumes.has(mount.name as string))
      errors.push({
        field: `${at}.name`,
        reason: 'FieldValueInvalid',
        message: `Not found: "${mount.name}"`,
      });
    if (!mount.mountPath) errors.push(field.required(`${at}.mountPath`));
    else if (mountPaths.has(mount.mountPath as string))
      errors.push(field.invalid(`${at}.mountPath`, mount.mountPath, 'must be unique'));
    mountPaths.add(mount.mountPath as string);
  }
  return errors;
}

/** Checks a port number. */
export function checkPort(value: unknown, path: string): FieldError[] {
  if (value === undefined) return [field.required(path)];
  if (Number.isInteger(value) && (value as number) > 0 && (value as number) < 65536) return [];
  return [field.invalid(path, value, 'must be between 1 and 65535, inclusive')];
}

/** Checks a port name (IANA service name). */
export function checkPortName(name: string, path: string): FieldError[] {
  if (name.length > 15) return [field.invalid(path, name, 'must be no more than 15 characters')];
  if (/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name) && /[a-z]/.test(name) && !name.includes('--')) return [];
  return [
    field.invalid(
      path,
      name,
      'must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-), at least one letter, and not start or end with a hyphen',
    ),
  ];
}

function checkVolumes(volumes: readonly Dict[], path: string): FieldError[] {
  const names = new Set<string>();
  return volumes.flatMap((volume, index) => {
    const at = `${path}[${index}]`;
    const errors = checkDnsLabel(volume.name, `${at}.name`);
    if (names.has(volume.name as string)) errors.push(field.duplicate(`${at}.name`, volume.name));
    names.add(volume.name as string);
    if (Object.keys(volume).length > 2)
      errors.push(field.forbidden(at, 'may not specify more than 1 volume type'));
    return errors;
  });
}

const MUTABLE = ['activeDeadlineSeconds', 'tolerations', 'terminationGracePeriodSeconds', 'nodeName'];

/** A running pod's spec may change in its images and little else. */
function checkPodUpdate(pod: KubeObject, old: KubeObject): FieldError[] {
  const frozen = (spec: Dict): Dict => {
    const rest = Object.fromEntries(Object.entries(spec).filter(([key]) => !MUTABLE.includes(key)));
    const images = (containers: unknown): unknown =>
      list(containers).map(({ image: _image, resources: _resources, ...container }) => container);
    return { ...rest, containers: images(rest.containers), initContainers: images(rest.initContainers) };
  };
  const before = old.spec as Dict;
  const now = pod.spec as Dict;
  if (before.nodeName && now.nodeName !== before.nodeName)
    return [field.forbidden('spec.nodeName', 'may not be changed once set')];
  if (jsonEqual(frozen(before), frozen(now))) return [];
  const help =
    'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';
  return [field.forbidden('spec', help)];
}

const TOLERATIONS = ['not-ready', 'unreachable'].map((name) => ({
  key: `node.kubernetes.io/${name}`,
  operator: 'Exists',
  effect: 'NoExecute',
  tolerationSeconds: 300,
}));

export const podRules: KindRules = {
  setDefaults: (pod) => {
    const spec = (pod.spec ??= {}) as Dict;
    setPodSpecDefaults(spec);
    spec.serviceAccountName ??= 'default';
    spec.serviceAccount ??= spec.serviceAccountName as unknown;
    spec.enableServiceLinks ??= true;
    spec.preemptionPolicy ??= 'PreemptLowerPriority';
    spec.priority ??= 0;
    const tolerations = (spec.tolerations ??= []) as Dict[];
    for (const toleration of TOLERATIONS)
      if (
        !tolerations.some((item) => item.key === toleration.key || (!item.key && item.operator === 'Exists'))
      )
        tolerations.push({ ...toleration });
    pod.status ??= { phase: 'Pending', qosClass: qosClass(spec) };
    pod.status.phase ??= 'Pending';
    pod.status.qosClass ??= qosClass(spec);
  },
  validate: (pod, old) => [
    ...checkPodSpec(pod.spec as Dict, 'spec'),
    ...(old ? checkPodUpdate(pod, old) : []),
  ],
};

function qosClass(spec: Dict): string {
  const all = [...list(spec.containers), ...list(spec.initContainers)].map(
    (container) => container.resources as Dict,
  );
  if (all.every((resources) => !resources?.limits && !resources?.requests)) return 'BestEffort';
  const guaranteed = all.every(
    ({ limits, requests }) =>
      limits?.cpu &&
      limits.memory &&
      (!requests ||
        (jsonEqual(requests.cpu ?? limits.cpu, limits.cpu) &&
          jsonEqual(requests.memory ?? limits.memory, limits.memory))),
  );
  return guaranteed ? 'Guaranteed' : 'Burstable';
}
