// SPDX-License-Identifier: Apache-2.0
// Nodes, pods and containers in real namespaces: what a program sees of its root, network, volumes and user,
// how exec passes streams and exit codes, and that removing the sandbox leaves nothing on the machine.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { uniqueName } from '@cilium-ts/native/testing';
import { artifactsOf, privateLayout } from '../cluster/layout.ts';
import { dropCgroup, removeSandbox } from '../cluster/cleanup.ts';
import { buildNetwork } from '../cluster/network.ts';
import { createNode, type SandboxNode } from '../cluster/node.ts';
import { planCluster } from '../cluster/plan.ts';
import { cgroupMount } from '../cluster/preflight.ts';
import { Runtime, type RunningContainer } from './runtime.ts';
import type { ContainerRunSpec } from './specification.ts';

const layout = privateLayout(uniqueName('r'));
const runtime = new Runtime(artifactsOf(process.cwd()).runtime);
const root = { uid: 0, gid: 0, groups: [], capabilities: 0xa80425fbn, noNewPrivileges: false };
const PATH = 'PATH=/usr/sbin:/usr/bin:/sbin:/bin';
let nodes: SandboxNode[] = [];
let cgroup = '';
let podPid = 0;
let count = 0;

function spec(command: string, more: Partial<ContainerRunSpec> = {}): ContainerRunSpec {
  const node = nodes[0]!;
  const dir = `${layout.stateDir}/c${count++}`;
  mkdirSync(dir, { recursive: true });
  return {
    arguments: ['sh', '-c', command],
    environment: [PATH, 'COLOUR=blue'],
    workingDirectory: '/',
    identity: root,
    nodePid: node.pid,
    podPid,
    dir,
    cgroup: `${node.cgroup}/pods/p/c${count}`,
    shimCgroup: `${node.cgroup}/runtime`,
    logFile: `${dir}/log`,
    layers: [],
    mounts: [],
    hidden: ['/var/lib/cilium-ts'],
    privileged: false,
    readOnlyRoot: false,
    ...more,
  };
}

async function output(wanted: ContainerRunSpec): Promise<{ code: number; lines: string[] }> {
  const running = await runtime.run(wanted);
  const { code } = await running.exited;
  const text = readFileSync(wanted.logFile, 'utf8').trimEnd();
  return {
    code,
    lines: text === '' ? [] : text.split('\n').map((line) => line.split(' ').slice(3).join(' ')),
  };
}

async function execIn(
  running: RunningContainer,
  where: ContainerRunSpec,
  argv: string[],
  more: { input?: string; tty?: { rows: number; columns: number } } = {},
): Promise<{ code: number; out: Buffer; err: string }> {
  const child = runtime.exec({
    arguments: argv,
    environment: where.environment,
    workingDirectory: '/',
    identity: root,
    pid: running.pid,
    cgroup: where.cgroup,
    stdin: more.input !== undefined,
    tty: more.tty,
  });
  const out: Buffer[] = [];
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  if (more.input !== undefined) child.stdin.end(more.input);
  return { code: await child.exited, out: Buffer.concat(out), err };
}

beforeAll(async () => {
  mkdirSync(layout.stateDir, { recursive: true });
  cgroup = `${await cgroupMount(layout)}/${layout.cgroupName}`;
  const plan = planCluster(2, 0);
  await buildNetwork(runtime, layout, plan);
  nodes = await Promise.all(plan.nodes.map((node) => createNode(runtime, layout, cgroup, node)));
  podPid = await runtime.createPod({
    nodePid: nodes[0]!.pid,
    cgroup: `${nodes[0]!.cgroup}/pods/p/.sandbox`,
    hostNetwork: false,
    netns: `${layout.prefix}pod`,
    hostname: 'mypod',
    sysctls: ['net/ipv4/ping_group_range=0 2147483647'],
  });
});

afterAll(() => removeSandbox(layout));

describe('nodes', () => {
  it('reach each other over the wire by IPv4 and IPv6', async () => {
    for (const address of ['192.168.77.2', 'fd77::2']) {
      // Nobody listens, and that is the other node's own answer.
      await expect(runtime.probeTcp(nodes[0]!.netnsPath, address, 9, 3000)).rejects.toThrow(
        'Connection refused',
      );
    }
  });

  it('have a host name, a bpffs, a cgroup and CNI folders of their own', async () => {
    const script =
      'hostname; touch /sys/fs/bpf/.. /opt/cni/bin/plugin; ls /opt/cni/bin; ls /run/cilium/cgroupv2 | grep -c pods';
    const { stdout } = await runtime.nodeExec(nodes[1]!, ['sh', '-c', script]);
    expect(stdout.trim().split('\n')).toEqual(['node2', 'plugin', '1']);
    const other = await runtime.nodeExec(nodes[0]!, ['ls', '/opt/cni/bin']);
    expect(other.stdout).toBe('');
    expect(existsSync('/opt/cni/bin/plugin')).toBe(false);
  });
});

describe('containers', () => {
  it('see the machine below a root of their own, and what they write goes with them', async () => {
    const mark = `/etc/ctst-${process.pid}`;
    const { code, lines } = await output(
      spec(`echo own > ${mark} && cat ${mark} && hostname && ls /run && ls -A /var/lib/cilium-ts`),
    );
    expect({ code, lines }).toEqual({ code: 0, lines: ['own', 'mypod'] });
    expect(existsSync(mark)).toBe(false);
  });

  it('report exit codes and signals, and log a last line without a newline', async () => {
    expect(await output(spec('printf tail; exit 7'))).toEqual({ code: 7, lines: ['tail'] });
    expect((await output(spec('kill -SEGV $$'))).code).toBe(139);
  });

  it('say why a program could not be started', async () => {
    const absent = spec('', { arguments: ['/no/such/program'] });
    await expect(runtime.run(absent)).rejects.toThrow('/no/such/program');
    const lost = spec('true', {
      mounts: [
        { where: 'machine', source: '/no/such/dir', target: '/x', readOnly: true, propagation: 'private' },
      ],
    });
    await expect(runtime.run(lost)).rejects.toThrow('volume source /no/such/dir');
  });

  it('get volumes, read-only ones and parts of them, without a way out by links', async () => {
    const volume = `${layout.stateDir}/volume`;
    mkdirSync(`${volume}/part`, { recursive: true });
    writeFileSync(`${volume}/part/file`, 'inside\n');
    const mount = { where: 'machine', source: volume, readOnly: true, propagation: 'private' } as const;
    const { lines } = await output(
      spec('cat /a/file; touch /a/new 2>/dev/null || echo refused; cat /etc/resolv.conf', {
        mounts: [
          { ...mount, subPath: 'part', target: '/a' },
          { ...mount, subPath: 'part/file', target: '/etc/resolv.conf' },
        ],
      }),
    );
    expect(lines).toEqual(['inside', 'refused', 'inside']);
  });

  it("keep raw ICMP sockets but neither other capabilities nor the machine's settings", async () => {
    const { lines } = await output(
      spec(
        'perl -e "use Socket; socket(S, PF_INET, SOCK_RAW, 1) and print qq(raw\\n)"; ip link add x type veth 2>/dev/null || echo refused; echo 1 > /proc/sys/net/ipv4/ip_forward || echo refused',
      ),
    );
    expect(lines.filter((line) => !line.includes('cannot create'))).toEqual(['raw', 'refused', 'refused']);
  });

  it('run as the user that was asked for', async () => {
    const { lines } = await output(
      spec('id -u; id -g; id -G', { identity: { ...root, uid: 1000, gid: 1001, groups: [1001, 2000] } }),
    );
    expect(lines).toEqual(['1000', '1001', '1001 2000']);
  });
});

describe('mount propagation', () => {
  const where = { where: 'node', readOnly: false } as const;

  it('shows network namespaces made later to who mounted their folder', async () => {
    const watching = spec('sleep 1000', {
      mounts: [{ ...where, source: '/run/netns', target: '/var/run/netns', propagation: 'slave' }],
    });
    const running = await runtime.run(watching);
    const name = `${layout.prefix}later`;
    await runtime.createNetns(name);
    const result = await execIn(running, watching, ['nsenter', `--net=/run/netns/${name}`, 'true']);
    expect(result.err).toContain('Operation not permitted');
    const listed = await execIn(running, watching, ['stat', '-f', '-c', '%T', `/run/netns/${name}`]);
    expect(listed.out.toString().trim()).toBe('nsfs');
    await dropCgroup(watching.cgroup);
  });

  it('carries mounts of a privileged container to its node, not to the machine', async () => {
    await runtime.nodeExec(nodes[0]!, ['mkdir', '-p', '/var/lib/cilium/shared/inner']);
    const mounting = spec('mount -t tmpfs none /shared/inner && touch /shared/inner/seen; sleep 1000', {
      privileged: true,
      identity: { ...root, capabilities: undefined },
      mounts: [{ ...where, source: '/var/lib/cilium/shared', target: '/shared', propagation: 'shared' }],
    });
    await runtime.run(mounting);
    const look = (): Promise<{ code: number }> =>
      runtime.nodeExec(nodes[0]!, ['test', '-e', '/var/lib/cilium/shared/inner/seen']);
    while ((await look()).code !== 0) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain('shared/inner');
    await dropCgroup(mounting.cgroup);
  });
});

describe('exec', () => {
  let running: RunningContainer;
  let where: ContainerRunSpec;

  beforeAll(async () => {
    where = spec('sleep 1000');
    running = await runtime.run(where);
  });

  it('passes exit codes, standard input and complete output of several at once', async () => {
    const one = async (code: number): Promise<void> => {
      const result = await execIn(running, where, ['sh', '-c', `cat; seq 1 50000; exit ${code}`], {
        input: 'typed\n',
      });
      expect(result.code).toBe(code);
      expect(result.out.toString().split('\n').slice(0, 2)).toEqual(['typed', '1']);
      expect(result.out.toString().endsWith('\n50000\n')).toBe(true);
    };
    await Promise.all([0, 1, 2, 3].map(one));
  });

  it('takes arguments of 100 KB', async () => {
    const result = await execIn(running, where, ['sh', '-c', 'echo ${#1}', 'sh', 'x'.repeat(100_000)]);
    expect(result.out.toString()).toBe('100000\n');
  });

  it('exits with 127 and a reason where the program is absent', async () => {
    const result = await execIn(running, where, ['no-such-program']);
    expect(result.code).toBe(127);
    expect(result.err).toContain('no-such-program');
  });

  it('gives a terminal of the size asked for', async () => {
    const result = await execIn(running, where, ['stty', 'size'], {
      tty: { rows: 33, columns: 99 },
      input: '',
    });
    expect(result.out.toString()).toContain('33 99');
  });

  it('does not wait for children that keep the output open', async () => {
    const result = await execIn(running, where, ['sh', '-c', 'sleep 500 & echo done']);
    expect(result).toMatchObject({ code: 0 });
    expect(result.out.toString()).toBe('done\n');
  });

  it('ends with the container', async () => {
    const child = runtime.exec({
      ...where,
      arguments: ['sh', '-c', 'echo up; sleep 500'],
      pid: running.pid,
      stdin: false,
      tty: undefined,
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    await dropCgroup(where.cgroup);
    expect(await child.exited).toBe(137);
    expect(await running.exited).toEqual({ code: 137, signal: 9 });
  });
});

describe('removal', () => {
  it('leaves no namespace, mount, process, cgroup or file behind', async () => {
    await runtime.run(spec('sleep 1000'));
    await removeSandbox(layout);
    expect(existsSync(layout.stateDir)).toBe(false);
    expect(existsSync(cgroup)).toBe(false);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(layout.stateDir);
    const netns = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
    expect(netns.filter((name) => name.startsWith(layout.prefix))).toEqual([]);
    const processes = execFileSync('ps', ['-eo', 'args']).toString();
    expect(processes).not.toContain(layout.prefix);
  });
});
