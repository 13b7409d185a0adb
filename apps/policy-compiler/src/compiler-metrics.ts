// SPDX-License-Identifier: Apache-2.0
import type { Metrics } from '@cilium-ts/telemetry';
import type { Compiler } from './compiler.ts';

export function registerMetrics(metrics: Metrics, compiler: Compiler): void {
  const gauge = (name: string, help: string, read: () => number): void =>
    metrics.observe(name, help, 'gauge', (report) => report(read()));
  gauge('cilium_policy_compiler_leading', 'Whether this compiler publishes', () => Number(compiler.leading));
  gauge('cilium_policy_compiler_bus_connected', 'Whether NATS is connected', () =>
    Number(compiler.connected),
  );
  gauge('cilium_policy_compiler_revision', 'Newest published revision', () => compiler.revision.revision);
  gauge('cilium_policy_compiler_epoch', 'Epoch of the leader', () => compiler.revision.epoch);
  gauge('cilium_policy_compiler_nodes', 'Nodes that enforce policy', () => compiler.nodes.size);
  gauge(
    'cilium_policy_compiler_rule_sets',
    'Distinct rule sets',
    () => compiler.engine.state().ruleSets.length,
  );
  metrics.observe(
    'cilium_policy_compiler_node_revision',
    'Newest acknowledged revision by node',
    'gauge',
    (report) => {
      for (const { node, revision } of compiler.reports.values()) report(revision, { node });
    },
  );
  metrics.observe('cilium_policy_compiler_objects', 'Policy objects by validity', 'gauge', (report) => {
    let valid = 0;
    let invalid = 0;
    for (const { problems } of compiler.feed.states()) {
      if (problems.length === 0) valid++;
      else invalid++;
    }
    report(valid, { valid: 'true' });
    report(invalid, { valid: 'false' });
  });
}
