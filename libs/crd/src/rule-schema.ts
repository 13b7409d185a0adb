// SPDX-License-Identifier: Apache-2.0
// Schema of one rule of CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy: shapes only; meaning is checked by the compiler.
import { flag, integer, labelSelector, list, open, text, textMap, type JsonSchema } from './schema.ts';

const secret = open({ name: text, namespace: text });
const tls = open({ secret, trustedCA: text, certificate: text, privateKey: text });

const http = open({
  path: text,
  method: text,
  host: text,
  headers: list(text),
  headerMatches: list(open({ name: text, value: text, mismatch: text, secret })),
});
const kafka = open({ role: text, apiKey: text, apiVersion: text, clientID: text, topic: text });
const fqdn = open({ matchName: text, matchPattern: text });

const port = open({ port: text, endPort: integer, protocol: text });
const portRule = open({
  ports: list(port),
  rules: open({ http: list(http), kafka: list(kafka), dns: list(fqdn), l7proto: text, l7: list(textMap) }),
  terminatingTLS: tls,
  originatingTLS: tls,
  serverNames: list(text),
  listener: open({ envoyConfig: open({ kind: text, name: text }), name: text, priority: integer }),
});
const portDenyRule = open({ ports: list(port) });
const icmpRule = open({
  fields: list(open({ family: text, type: { 'x-kubernetes-int-or-string': true } })),
});

const cidrRule = open({
  cidr: text,
  cidrGroupRef: text,
  cidrGroupSelector: labelSelector,
  except: list(text),
});
const group = open({
  aws: open({
    labels: textMap,
    region: text,
    securityGroupsIds: list(text),
    securityGroupsNames: list(text),
  }),
});
const service = open({
  k8sService: open({ serviceName: text, namespace: text }),
  k8sServiceSelector: open({ selector: labelSelector, namespace: text }),
});

function peers(side: 'from' | 'to'): Record<string, JsonSchema> {
  return {
    [`${side}Endpoints`]: list(labelSelector),
    [`${side}Nodes`]: list(labelSelector),
    [`${side}CIDR`]: list(text),
    [`${side}CIDRSet`]: list(cidrRule),
    [`${side}Entities`]: list(text),
    [`${side}Groups`]: list(group),
    [`${side}Requires`]: list(labelSelector),
  };
}

const authentication = open({ mode: text });
const egressPeers = { ...peers('to'), toServices: list(service) };

export const rule: JsonSchema = open({
  description: text,
  labels: list(open({ key: text, value: text, source: text })),
  endpointSelector: labelSelector,
  nodeSelector: labelSelector,
  enableDefaultDeny: open({ ingress: flag, egress: flag }),
  log: open({ value: text }),
  ingress: list(open({ ...peers('from'), toPorts: list(portRule), icmps: list(icmpRule), authentication })),
  ingressDeny: list(open({ ...peers('from'), toPorts: list(portDenyRule), icmps: list(icmpRule) })),
  egress: list(
    open({
      ...egressPeers,
      toFQDNs: list(fqdn),
      toPorts: list(portRule),
      icmps: list(icmpRule),
      authentication,
    }),
  ),
  egressDeny: list(open({ ...egressPeers, toPorts: list(portDenyRule), icmps: list(icmpRule) })),
});
