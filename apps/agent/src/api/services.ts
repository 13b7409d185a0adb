// SPDX-License-Identifier: Apache-2.0
import type {
  CniCallModel,
  ConfigModel,
  IpModel,
  MapModel,
  PolicyModel,
  SelectorModel,
  StatusModel,
} from '@cilium-ts/agent-api';
import type { AgentTables, EndpointRow } from '../rows.ts';
import type { ModelFacts } from './endpoint-model.ts';

/** What the API asks the other parts for. */
export interface ApiServices {
  readonly tables: AgentTables;
  readonly factsOf: (row: EndpointRow) => ModelFacts;
  readonly cidrIdentities: () => readonly { readonly identity: number; readonly labels: readonly string[] }[];
  readonly status: () => StatusModel;
  readonly policy: () => Promise<PolicyModel>;
  readonly selectors: () => Promise<SelectorModel[]>;
  /** What `cilium policy explain` asks; the answer is the policy-compiler's ExplainResponse as JSON. */
  readonly explain: (asked: Readonly<Partial<Record<string, string>>>) => Promise<unknown>;
  readonly ips: () => IpModel[];
  readonly maps: () => Promise<MapModel[]>;
  readonly config: () => ConfigModel;
  readonly metricsText: () => Promise<string>;
  readonly setAudit: (endpoint: number, audit: boolean) => Promise<void>;
  readonly cni: (call: CniCallModel) => Promise<{ readonly status: number; readonly body: string }>;
}
