// SPDX-License-Identifier: Apache-2.0
import { rule } from './rule-schema.ts';
import { dateTime, integer, list, object, open, text, textMap, type JsonSchema } from './schema.ts';

export const CILIUM_GROUP = 'cilium.io';

export interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'date' | 'integer';
  readonly jsonPath: string;
  readonly description?: string;
}

/** One kind, everything a CRD manifest is printed from. */
export interface KindDefinition {
  /** Default cilium.io. */
  readonly group?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly namespaced: boolean;
  /** The first one is stored. */
  readonly versions: readonly string[];
  readonly schema: Readonly<Record<string, JsonSchema>>;
  readonly required: readonly string[];
  readonly columns: readonly PrinterColumn[];
  readonly statusSubresource: boolean;
}

const AGE: PrinterColumn = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };
const VALID: PrinterColumn = {
  name: 'Valid',
  type: 'string',
  jsonPath: ".status.conditions[?(@.type=='Valid')].status",
};

const conditions: JsonSchema = {
  ...list(
    object({ type: text, status: text, lastTransitionTime: dateTime, reason: text, message: text }, [
      'type',
      'status',
    ]),
  ),
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['type'],
};

function policyKind(kind: string, plural: string, shortNames: string[], namespaced: boolean): KindDefinition {
  return {
    kind,
    plural,
    singular: kind.toLowerCase(),
    shortNames,
    namespaced,
    versions: ['v2'],
    schema: { spec: rule, specs: list(rule), status: open({ conditions }) },
    required: ['metadata'],
    columns: [AGE, VALID],
    statusSubresource: true,
  };
}

const identity: KindDefinition = {
  kind: 'CiliumIdentity',
  plural: 'ciliumidentities',
  singular: 'ciliumidentity',
  shortNames: ['ciliumid'],
  namespaced: false,
  versions: ['v2'],
  schema: { 'security-labels': textMap },
  required: ['metadata', 'security-labels'],
  columns: [
    { name: 'Namespace', type: 'string', jsonPath: '.metadata.labels.io\\.kubernetes\\.pod\\.namespace' },
    AGE,
  ],
  statusSubresource: false,
};

const enforcement = open({ enforcing: { type: 'boolean' }, state: text });

const endpoint: KindDefinition = {
  kind: 'CiliumEndpoint',
  plural: 'ciliumendpoints',
  singular: 'ciliumendpoint',
  shortNames: ['cep', 'ciliumep'],
  namespaced: true,
  versions: ['v2'],
  schema: {
    status: open({
      id: integer,
      state: text,
      identity: object({ id: integer, labels: list(text) }),
      networking: object({ addressing: list(object({ ipv4: text, ipv6: text })), node: text }, [
        'addressing',
      ]),
      policy: object({ ingress: enforcement, egress: enforcement }),
      'named-ports': list(object({ name: text, port: integer, protocol: text })),
      'external-identifiers': open({ 'k8s-namespace': text, 'k8s-pod-name': text, 'pod-name': text }),
      encryption: object({ key: integer }),
      'service-account': text,
    }),
  },
  required: ['metadata'],
  columns: [
    { name: 'Security Identity', type: 'integer', jsonPath: '.status.identity.id' },
    { name: 'Endpoint State', type: 'string', jsonPath: '.status.state' },
    { name: 'IPv4', type: 'string', jsonPath: '.status.networking.addressing[0].ipv4' },
    { name: 'IPv6', type: 'string', jsonPath: '.status.networking.addressing[0].ipv6' },
  ],
  statusSubresource: true,
};

const node: KindDefinition = {
  kind: 'CiliumNode',
  plural: 'ciliumnodes',
  singular: 'ciliumnode',
  shortNames: ['cn', 'ciliumn'],
  namespaced: false,
  versions: ['v2'],
  schema: {
    spec: open({
      addresses: list(object({ type: text, ip: text })),
      bootid: text,
      ipam: open({ podCIDRs: list(text) }),
      health: object({ ipv4: text, ipv6: text }),
      encryption: object({ key: integer }),
      'instance-id': text,
    }),
    status: open({}),
  },
  required: ['metadata', 'spec'],
  columns: [
    {
      name: 'CiliumInternalIP',
      type: 'string',
      jsonPath: ".spec.addresses[?(@.type=='CiliumInternalIP')].ip",
    },
    { name: 'InternalIP', type: 'string', jsonPath: ".spec.addresses[?(@.type=='InternalIP')].ip" },
    AGE,
  ],
  statusSubresource: true,
};

const cidrGroup: KindDefinition = {
  kind: 'CiliumCIDRGroup',
  plural: 'ciliumcidrgroups',
  singular: 'ciliumcidrgroup',
  shortNames: ['ccg'],
  namespaced: false,
  versions: ['v2', 'v2alpha1'],
  schema: { spec: object({ externalCIDRs: list(text) }, ['externalCIDRs']) },
  required: ['metadata', 'spec'],
  columns: [AGE],
  statusSubresource: false,
};

/** Of the network-policy-api; strict checks are the compiler's, which names every problem with its path. */
const clusterNetworkPolicy: KindDefinition = {
  group: 'policy.networking.k8s.io',
  // A group of the project's own domain: without this word an API server refuses the manifest.
  annotations: { 'api-approved.kubernetes.io': 'unapproved, stands in where the API is not installed' },
  kind: 'ClusterNetworkPolicy',
  plural: 'clusternetworkpolicies',
  singular: 'clusternetworkpolicy',
  shortNames: [],
  namespaced: false,
  versions: ['v1alpha2'],
  schema: {
    spec: open({
      tier: text,
      priority: integer,
      subject: open({}),
      ingress: list(open({ name: text, action: text, from: list(open({})), protocols: list(open({})) })),
      egress: list(open({ name: text, action: text, to: list(open({})), protocols: list(open({})) })),
    }),
    status: open({ conditions }),
  },
  required: ['metadata', 'spec'],
  columns: [
    { name: 'Tier', type: 'string', jsonPath: '.spec.tier' },
    { name: 'Priority', type: 'integer', jsonPath: '.spec.priority' },
    VALID,
    AGE,
  ],
  statusSubresource: true,
};

export const KINDS: readonly KindDefinition[] = [
  policyKind('CiliumNetworkPolicy', 'ciliumnetworkpolicies', ['cnp', 'ciliumnp'], true),
  policyKind('CiliumClusterwideNetworkPolicy', 'ciliumclusterwidenetworkpolicies', ['ccnp'], false),
  identity,
  endpoint,
  node,
  cidrGroup,
  clusterNetworkPolicy,
];
