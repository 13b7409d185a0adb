// SPDX-License-Identifier: Apache-2.0
// The command tree. What a command does is loaded when it is called, so that `cilium status` starts fast.
import { Command } from 'commander';

const OUTPUT = ['-o, --output <format>', 'json, yaml or jsonpath=<expression>'] as const;

export function buildProgram(): Command {
  const program = new Command('cilium')
    .description('Looks into the Cilium agent of this node')
    .exitOverride()
    .configureHelp({ sortSubcommands: true });
  addStatus(program);
  addEndpoint(program);
  addIdentity(program);
  addPolicy(program);
  addService(program);
  addBpf(program);
  addMonitor(program);
  addSmall(program);
  return program;
}

function addStatus(program: Command): void {
  program
    .command('status')
    .description('Status of the agent and its parts')
    .option(...OUTPUT)
    .option('--verbose', 'everything')
    .option('--brief', 'one line; exit code 1 unless healthy')
    .option('--all-addresses', 'allocated addresses')
    .option('--all-controllers', 'every controller')
    .option('--all-nodes', 'every node')
    .option('--all-redirects', 'every redirect (none in this version)')
    .option('--all-clusters', 'every remote cluster (none in this version)')
    .option('--all-health', 'health of every node')
    .option('--require-k8s-connectivity [bool]', 'an unreachable API server is an error', 'true')
    .option('--timeout <duration>', 'longest wait for the agent', '30s')
    .action(async (options) => (await import('./commands/status.ts')).status(options));
}

function addEndpoint(program: Command): void {
  const endpoint = program.command('endpoint').description('Endpoints of this node');
  endpoint
    .command('list')
    .description('All endpoints')
    .option(...OUTPUT)
    .option('--no-headers', 'rows only')
    .action(async (options) => (await import('./commands/endpoint.ts')).list(options));
  endpoint
    .command('get')
    .description('One endpoint, or several')
    .argument(
      '[ids...]',
      'id, or prefix:value (pod-name:ns:name, container-id:, cni-attachment-id:, cep-name:, ipv4:, ipv6:)',
    )
    .option('-l, --labels <labels...>', 'endpoints with these labels')
    .option('--array', 'always an array')
    .option(...OUTPUT)
    .action(async (ids, options) => (await import('./commands/endpoint.ts')).get(ids, options));
  endpoint
    .command('health')
    .description('Health of one endpoint')
    .argument('<id>')
    .option(...OUTPUT)
    .action(async (id, options) => (await import('./commands/endpoint.ts')).health(id, options));
  endpoint
    .command('log')
    .description('What happened to one endpoint')
    .argument('<id>')
    .option(...OUTPUT)
    .action(async (id, options) => (await import('./commands/endpoint.ts')).log(id, options));
  endpoint
    .command('config')
    .description('Options of one endpoint; PolicyAuditMode=Enabled|Disabled changes one')
    .argument('<id>')
    .argument('[name=value...]')
    .option(...OUTPUT)
    .action(async (id, assignments, options) =>
      (await import('./commands/endpoint.ts')).config(id, assignments, options),
    );
}

function addIdentity(program: Command): void {
  const identity = program.command('identity').description('Security identities');
  identity
    .command('list')
    .description('All identities')
    .option('--endpoints', 'those in use on this node, with their count')
    .option(...OUTPUT)
    .action(async (options) => (await import('./commands/identity.ts')).list(options));
  identity
    .command('get')
    .description('One identity')
    .argument('<id>')
    .option(...OUTPUT)
    .action(async (id, options) => (await import('./commands/identity.ts')).get(id, options));
}

function addPolicy(program: Command): void {
  const policy = program.command('policy').description('Network policy');
  policy
    .command('get')
    .description('Rules and revision')
    .option(...OUTPUT)
    .action(async (options) => (await import('./commands/policy.ts')).get(options));
  policy
    .command('selectors')
    .description('Selectors and the identities they select')
    .option('-v, --verbose', 'all labels')
    .option(...OUTPUT)
    .action(async (options) => (await import('./commands/policy.ts')).selectors(options));
  policy
    .command('explain')
    .description('Why a flow passes or not: verdict, rules, nearest miss')
    .option('--from <source>', 'namespace/pod, namespace/key=value, an address or an entity')
    .option('--to <destination>', 'the same')
    .option('--port <port/protocol>', 'number or name, as in 8080/TCP')
    .option('--l7 <request>', "'GET /x', 'GET http://host/x' with lines of headers, or 'DNS name'")
    .option('--flow <uuid>', 'a flow this node has seen, instead of all of these')
    .option('--file <file>', 'policies that count as well')
    .option('--offline', 'the policies of --file alone')
    .option(...OUTPUT)
    .action(async (options) => (await import('./commands/policy-explain.ts')).explain(options));
  policy
    .command('trace')
    .description('The older name of explain')
    .option('--src-k8s-pod <pod>', 'namespace:pod or namespace/pod')
    .option('--dst-k8s-pod <pod>', 'namespace:pod or namespace/pod')
    .option('--dport <port/protocol>', 'as in 8080/TCP')
    .option(...OUTPUT)
    .action(async (options) => (await import('./commands/policy-explain.ts')).trace(options));
  policy
    .command('validate')
    .description('Checks policies of files; needs no agent. Exit code 1 if one of them has an error')
    .argument('<files...>', 'YAML or JSON files, directories of them, or - for standard input')
    .option('--cluster <name>', 'name of the cluster', 'default')
    .option('--host-firewall', 'the host firewall is on')
    .option(...OUTPUT)
    .action(async (files, options) =>
      (await import('./commands/policy-validate.ts')).validate(files, options),
    );
}

function addService(program: Command): void {
  const service = program.command('service').description('Service frontends and backends');
  service
    .command('list')
    .description('All frontends')
    .option(...OUTPUT)
    .action(async (options) => (await import('./commands/service.ts')).list(options));
  service
    .command('get')
    .description('One frontend')
    .argument('<id>')
    .option(...OUTPUT)
    .action(async (id, options) => (await import('./commands/service.ts')).get(id, options));
}

function addBpf(program: Command): void {
  const bpf = program.command('bpf').description('BPF maps, read from the kernel (the agent need not run)');
  const maps: readonly (readonly [string, string, string])[] = [
    ['lb', 'Load balancing', 'listServices'],
    ['ct', 'Connections', 'listConnections'],
    ['nat', 'Masqueraded flows', 'listTranslations'],
    ['ipcache', 'Addresses and identities', 'listIpcache'],
    ['policy', 'Policy entries', 'listPolicy'],
    ['metrics', 'Packet counters', 'listMetrics'],
    ['endpoint', 'Local endpoints', 'listEndpoints'],
  ];
  for (const [name, what, handler] of maps) {
    const group = bpf.command(name).description(what);
    const list = group
      .command('list')
      .description(`${what}, as the kernel has them`)
      .option(...OUTPUT)
      .argument('[what...]', name === 'policy' ? 'endpoint ids; default all' : 'global')
      .option('--bpf-root <path>', 'mount point of the BPF file system');
    if (name === 'lb')
      list
        .option('--revnat', 'reverse NAT')
        .option('--frontends', 'frontends only')
        .option('--backends', 'backends only');
    if (name === 'ct') list.option('-d, --time-diff', 'remaining seconds rather than clock values');
    list.action(async (args, options) => {
      const dumps = await import('./commands/bpf.ts');
      await dumps.run(handler, args, options);
    });
    if (name === 'policy') {
      group
        .command('get')
        .description('Policy entries of one endpoint')
        .argument('<id>')
        .option(...OUTPUT)
        .option('--bpf-root <path>', 'mount point of the BPF file system')
        .action(async (id, options) => (await import('./commands/bpf.ts')).run('listPolicy', [id], options));
    }
  }
  bpf
    .command('fs')
    .description('BPF file system')
    .command('show')
    .description('Where it is mounted')
    .option(...OUTPUT)
    .action(async (options) => (await import('./commands/bpf-fs.ts')).show(options));
}

function addMonitor(program: Command): void {
  program
    .command('monitor')
    .description('Events of the datapath, as they happen')
    .option('-t, --type <types...>', 'drop, trace, policy-verdict')
    .option('--from <ids...>', 'source endpoints')
    .option('--to <ids...>', 'destination endpoints')
    .option('--related-to <ids...>', 'either end')
    .option('-j, --json', 'one JSON object per line')
    .option('-n, --numeric', 'numbers instead of names')
    .option('-v, --verbose', 'more')
    .action(async (options) => (await import('./commands/monitor.ts')).monitor(options));
}

function addSmall(program: Command): void {
  const map = program.command('map').description('BPF maps of the agent');
  map
    .command('list')
    .description('All maps')
    .option('--verbose', 'sizes')
    .option(...OUTPUT)
    .action(async (options) => (await import('./commands/small.ts')).maps(options));
  map
    .command('get')
    .description('Keys and values of one map, from the kernel')
    .argument('<name>')
    .option(...OUTPUT)
    .option('--bpf-root <path>', 'mount point of the BPF file system')
    .action(async (name, options) => (await import('./commands/bpf.ts')).run('showMap', [name], options));
  const metrics = program.command('metrics').description('Metrics of the agent');
  metrics
    .command('list')
    .description('All metrics')
    .option('-p, --match-pattern <pattern>', 'regular expression for names')
    .option(...OUTPUT)
    .action(async (options) => (await import('./commands/small.ts')).metrics(options));
  program
    .command('version')
    .description('Versions of this program and of the agent')
    .option(...OUTPUT)
    .action(async (options) => (await import('./commands/small.ts')).version(options));
  const config = program.command('config').description('Configuration of the agent');
  config
    .option('-a, --all', 'also what cannot be changed while it runs')
    .option(...OUTPUT)
    .action(async (options) => (await import('./commands/small.ts')).config(options));
  config
    .command('get')
    .description('One key')
    .argument('<name>')
    .action(async (name) => (await import('./commands/small.ts')).configGet(name));
  const ip = program.command('ip').description('Addresses and identities');
  ip.command('list')
    .description('All addresses')
    .option('-v, --verbose', 'hosts too')
    .option('-n, --numeric', 'numbers instead of labels')
    .option(...OUTPUT)
    .action(async (options) => (await import('./commands/small.ts')).ips(options));
  const node = program.command('node').description('Nodes of the cluster');
  node
    .command('list')
    .description('All nodes')
    .option(...OUTPUT)
    .action(async (options) => (await import('./commands/small.ts')).nodes(options));
}
