// SPDX-License-Identifier: Apache-2.0
import { crdRules } from './crd-rules.ts';
import { isDict, jsonEqual, type Dict, type FieldError, type KindRules, type KubeObject } from './model.ts';
import { checkLabels } from './names.ts';
import { checkPort, checkPortName, podRules } from './pod-rules.ts';
import { field } from './status.ts';
import { checkSelector, workloadRules } from './workload-rules.ts';

const list = (value: unknown): Dict[] => (Array.isArray(value) ? (value as Dict[]) : []);

function checkService(service: KubeObject): FieldError[] {
  const spec = (service.spec ?? {}) as Dict;
  const errors: FieldError[] = [];
  const types = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'];
  if (!types.includes(spec.type as string)) errors.push(field.unsupported('spec.type', spec.type, types));
  if (spec.type === 'ExternalName') {
    if (!spec.externalName) errors.push(field.required('spec.externalName'));
    return errors;
  }
  const ports = list(spec.ports);
  if (ports.length === 0 && spec.clusterIP !== 'None') errors.push(field.required('spec.ports'));
  const seen = new Set<string>();
  const names = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const at = `spec.ports[${index}]`;
    if (ports.length > 1 && !port.name) errors.push(field.required(`${at}.name`));
    if (port.name && names.has(port.name as string)) errors.push(field.duplicate(`${at}.name`, port.name));
    names.add(port.name as string);
    errors.push(...checkPort(port.port, `${at}.port`));
    if (typeof port.targetPort === 'string')
      errors.push(...checkPortName(port.targetPort, `${at}.targetPort`));
    else if (port.targetPort !== undefined) errors.push(...checkPort(port.targetPort, `${at}.targetPort`));
    const protocols = ['SCTP', 'TCP', 'UDP'];
    if (!protocols.includes(port.protocol as string))
      errors.push(field.unsupported(`${at}.protocol`, port.protocol, protocols));
    const key = `${port.port}/${port.protocol}`;
    if (seen.has(key))
      errors.push(field.duplicate(at, { port: port.port as number, protocol: port.protocol as string }));
    seen.add(key);
  }
  const affinities = ['ClientIP', 'None'];
  if (!affinities.includes(spec.sessionAffinity as string))
    errors.push(field.unsupported('spec.sessionAffinity', spec.sessionAffinity, affinities));
  errors.push(...checkLabels(spec.selector, 'spec.selector'));
  return errors;
}

const service: KindRules = {
  setDefaults: (object) => {
    const spec = (object.spec ??= {}) as Dict;
    spec.type ??= 'ClusterIP';
    spec.sessionAffinity ??= 'None';
    if (spec.sessionAffinity === 'ClientIP')
      spec.sessionAffinityConfig ??= { clientIP: { timeoutSeconds: 10_800 } };
    for (const port of list(spec.ports)) {
      port.protocol ??= 'TCP';
      port.targetPort ??= port.port as unknown;
    }
    if (spec.type !== 'ExternalName') spec.internalTrafficPolicy ??= 'Cluster';
    if (spec.type === 'NodePort' || spec.type === 'LoadBalancer') spec.externalTrafficPolicy ??= 'Cluster';
    if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true;
    object.status ??= { loadBalancer: {} };
  },
  validate: checkService,
};

const namespace: KindRules = {
  setDefaults: (object) => {
    object.spec ??= {};
    // A namespace that is ending has its finalizers taken away one by one.
    if (!object.metadata.deletionTimestamp) object.spec.finalizers ??= ['kubernetes'];
    object.status ??= {};
    object.status.phase ??= 'Active';
    const labels = (object.metadata.labels ??= {});
    labels['kubernetes.io/metadata.name'] = object.metadata.name;
  },
};

const SECRET_KEYS: Readonly<Record<string, readonly string[]>> = {
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
};

const secret: KindRules = {
  setDefaults: (object) => {
    object.type ??= 'Opaque';
    if (isDict(object.stringData)) {
      const data = (object.data ??= {}) as Record<string, string>;
      for (const [key, value] of Object.entries(object.stringData))
        data[key] = Buffer.from(String(value)).toString('base64');
    }
    delete object.stringData;
  },
  validate: (object, old) => [
    ...checkDataKeys(object.data, 'data'),
    ...(SECRET_KEYS[object.type as string] ?? [])
      .filter((key) => !(key in ((object.data ?? {}) as Dict)))
      .map((key) => field.required(`data[${key}]`)),
    ...(old && old.type !== object.type ? [field.invalid('type', object.type, 'field is immutable')] : []),
    ...checkImmutableData(object, old),
  ],
};

function checkDataKeys(data: unknown, path: string): FieldError[] {
  return Object.keys((data ?? {}) as Dict)
    .filter((key) => !/^[-._a-zA-Z0-9]{1,253}$/.test(key))
    .map((key) =>
      field.invalid(
        `${path}[${key}]`,
        key,
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
      ),
    );
}

function checkImmutableData(object: KubeObject, old: KubeObject | null): FieldError[] {
  if (!old?.immutable) return [];
  const changed = ['data', 'binaryData'].filter((key) => !jsonEqual(object[key] ?? {}, old[key] ?? {}));
  return changed.map((key) => field.forbidden(key, 'field is immutable when `immutable` is set'));
}

const configMap: KindRules = {
  validate: (object, old) => [
    ...checkDataKeys(object.data, 'data'),
    ...checkDataKeys(object.binaryData, 'binaryData'),
    ...checkImmutableData(object, old),
  ],
};

const networkPolicy: KindRules = {
  setDefaults: (object) => {
    const spec = (object.spec ??= {}) as Dict;
    spec.podSelector ??= {};
    spec.policyTypes ??= spec.egress ? ['Ingress', 'Egress'] : ['Ingress'];
    for (const rule of [...list(spec.ingress), ...list(spec.egress)])
      for (const port of list(rule.ports)) port.protocol ??= 'TCP';
  },
  validate: checkNetworkPolicy,
};

function checkNetworkPolicy(object: KubeObject): FieldError[] {
  const spec = object.spec as Dict;
  const errors = checkSelector(spec.podSelector as Dict, 'spec.podSelector');
  for (const [index, type] of ((spec.policyTypes ?? []) as string[]).entries())
    if (type !== 'Ingress' && type !== 'Egress')
      errors.push(field.unsupported(`spec.policyTypes[${index}]`, type, ['Egress', 'Ingress']));
  for (const [direction, side] of [
    ['ingress', 'from'],
    ['egress', 'to'],
  ] as const)
    for (const [index, rule] of list(spec[direction]).entries()) {
      const at = `spec.${direction}[${index}]`;
      for (const [i, port] of list(rule.ports).entries())
        errors.push(...checkPolicyPort(port, `${at}.ports[${i}]`));
      for (const [i, peer] of list(rule[side]).entries())
        errors.push(...checkPeer(peer, `${at}.${side}[${i}]`));
    }
  return errors;
}

function checkPolicyPort(port: Dict, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const protocols = ['SCTP', 'TCP', 'UDP'];
  if (!protocols.includes(port.protocol as string))
    errors.push(field.unsupported(`${path}.protocol`, port.protocol, protocols));
  if (typeof port.port === 'string') errors.push(...checkPortName(port.port, `${path}.port`));
  else if (port.port !== undefined) errors.push(...checkPort(port.port, `${path}.port`));
  if (
    port.endPort !== undefined &&
    !(Number.isInteger(port.port) && port.endPort >= port.port && port.endPort <= 65_535)
  )
    errors.push(
      field.invalid(
        `${path}.endPort`,
        port.endPort,
        'must be greater than or equal to `port` and at most 65535',
      ),
    );
  return errors;
}

function checkPeer(peer: Dict, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (Object.keys(peer).length === 0) errors.push(field.required(path, 'must specify a peer'));
  if (peer.ipBlock && (peer.podSelector || peer.namespaceSelector))
    errors.push(field.forbidden(path, 'may not specify both ipBlock and another peer'));
  if (peer.ipBlock) {
    const cidrs = [
      ['cidr', peer.ipBlock.cidr],
      ...((peer.ipBlock.except ?? []) as string[]).map((cidr, i) => [`except[${i}]`, cidr]),
    ];
    for (const [name, cidr] of cidrs)
      if (!isCidr(cidr))
        errors.push(
          field.invalid(
            `${path}.ipBlock.${name}`,
            cidr ?? '',
            'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
          ),
        );
  }
  errors.push(...checkSelector(peer.podSelector as Dict, `${path}.podSelector`));
  errors.push(...checkSelector(peer.namespaceSelector as Dict, `${path}.namespaceSelector`));
  return errors;
}

function isCidr(text: unknown): boolean {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(String(text ?? ''));
  if (!match) return false;
  const [, address, length] = match;
  if (address!.includes(':')) return /^[0-9a-fA-F:.]+$/.test(address!) && Number(length) <= 128;
  return (
    /^\d+\.\d+\.\d+\.\d+$/.test(address!) &&
    address!.split('.').every((part) => Number(part) < 256) &&
    Number(length) <= 32
  );
}

const endpointSlice: KindRules = {
  setDefaults: (object) => {
    for (const port of list(object.ports)) {
      port.name ??= '';
      port.protocol ??= 'TCP';
    }
  },
  validate: (object, old) => [
    ...(['IPv4', 'IPv6', 'FQDN'].includes(object.addressType as string)
      ? []
      : [field.unsupported('addressType', object.addressType ?? '', ['FQDN', 'IPv4', 'IPv6'])]),
    ...(old && old.addressType !== object.addressType
      ? [field.invalid('addressType', object.addressType, 'field is immutable')]
      : []),
  ],
};

const binding: KindRules = {
  setDefaults: (object) => {
    object.roleRef ??= {};
    object.roleRef.apiGroup ??= 'rbac.authorization.k8s.io';
    for (const subject of list(object.subjects))
      if (subject.kind !== 'ServiceAccount') subject.apiGroup ??= 'rbac.authorization.k8s.io';
  },
  validate: (object, old) => {
    const errors: FieldError[] = [];
    if (!object.roleRef.name) errors.push(field.required('roleRef.name'));
    if (old && !jsonEqual(old.roleRef, object.roleRef))
      errors.push(field.invalid('roleRef', object.roleRef, 'cannot change roleRef'));
    return errors;
  },
};

const RULES: Readonly<Record<string, KindRules>> = {
  ...workloadRules,
  Pod: podRules,
  Service: service,
  Namespace: namespace,
  Secret: secret,
  ConfigMap: configMap,
  NetworkPolicy: networkPolicy,
  EndpointSlice: endpointSlice,
  RoleBinding: binding,
  ClusterRoleBinding: binding,
  CustomResourceDefinition: crdRules,
  Node: { setDefaults: (object) => void ((object.spec ??= {}), (object.status ??= {})) },
};

/** Defaults and checks of a built-in kind. */
export function rulesFor(kind: string): KindRules | undefined {
  return RULES[kind];
}
