// SPDX-License-Identifier: Apache-2.0
import { Type, type Static } from 'typebox';

const Strings = Type.Array(Type.String());
const Numbers = Type.Array(Type.Integer());

export const IdentitySchema = Type.Object({
  id: Type.Integer(),
  labels: Strings,
  labelsSHA256: Type.String(),
});

const L4Rule = Type.Object({
  /** JSON text, as users' scripts expect it. */
  rule: Type.String(),
  'derived-from-rules': Type.Array(Strings),
  /** `CNP production/allow-frontend-to-backend egress[0].toPorts[0] (line 12)` */
  origins: Strings,
  'rules-by-selector': Type.Record(Type.String(), Type.Array(Strings)),
});

export const EndpointPolicySchema = Type.Object({
  'policy-revision': Type.Integer(),
  'policy-enabled': Type.Union([
    Type.Literal('none'),
    Type.Literal('ingress'),
    Type.Literal('egress'),
    Type.Literal('both'),
    Type.Literal('audit-ingress'),
    Type.Literal('audit-egress'),
    Type.Literal('audit-both'),
  ]),
  id: Type.Integer(),
  build: Type.Integer(),
  /** Number in the policy map, and content hash. */
  'rule-set': Type.Object({ number: Type.Integer(), id: Type.String(), entries: Type.Integer() }),
  'isolated-by': Type.Object({ ingress: Strings, egress: Strings }),
  'allowed-ingress-identities': Numbers,
  'allowed-egress-identities': Numbers,
  'denied-ingress-identities': Numbers,
  'denied-egress-identities': Numbers,
  'cidr-policy': Type.Object({ ingress: Type.Array(L4Rule), egress: Type.Array(L4Rule) }),
  l4: Type.Object({ ingress: Type.Array(L4Rule), egress: Type.Array(L4Rule) }),
});

const LogLine = Type.Object({
  timestamp: Type.String(),
  code: Type.String(),
  state: Type.String(),
  message: Type.String(),
});

const Health = Type.Object({
  overallHealth: Type.String(),
  bpf: Type.String(),
  policy: Type.String(),
  connected: Type.Boolean(),
});

const NamedPorts = Type.Array(
  Type.Object({ name: Type.String(), port: Type.Integer(), protocol: Type.String() }),
);

export const EndpointStatusPolicySchema = Type.Object({
  'proxy-policy-revision': Type.Integer(),
  spec: EndpointPolicySchema,
  realized: EndpointPolicySchema,
  'proxy-statistics': Type.Array(Type.Unknown()),
});

export const EndpointSchema = Type.Object({
  id: Type.Integer(),
  spec: Type.Object({
    'label-configuration': Type.Object({}),
    options: Type.Record(Type.String(), Type.String()),
  }),
  status: Type.Object({
    state: Type.String(),
    'external-identifiers': Type.Record(Type.String(), Type.String()),
    identity: IdentitySchema,
    labels: Type.Object({ realized: Type.Object({}), 'security-relevant': Strings, derived: Strings }),
    networking: Type.Object({
      addressing: Type.Array(
        Type.Object({ ipv4: Type.Optional(Type.String()), ipv6: Type.Optional(Type.String()) }),
      ),
      mac: Type.String(),
      'host-mac': Type.String(),
      'interface-name': Type.String(),
      'interface-index': Type.Integer(),
      'container-interface-name': Type.String(),
    }),
    policy: EndpointStatusPolicySchema,
    controllers: Type.Array(Type.Unknown()),
    health: Health,
    log: Type.Array(LogLine),
    namedPorts: NamedPorts,
  }),
});

export type IdentityModel = Static<typeof IdentitySchema>;
export type EndpointModel = Static<typeof EndpointSchema>;
export type EndpointPolicyModel = Static<typeof EndpointPolicySchema>;
export type L4RuleModel = Static<typeof L4Rule>;
export type EndpointHealthModel = Static<typeof Health>;
