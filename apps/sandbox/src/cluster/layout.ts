// SPDX-License-Identifier: Apache-2.0
// Names and places: everything the sandbox makes on the machine is found again by these.

export interface SandboxLayout {
  /** Prefix of network namespaces. */
  readonly prefix: string;
  /** Folder that goes when the sandbox stops. */
  readonly stateDir: string;
  /** Folder name below the cgroup v2 mount. */
  readonly cgroupName: string;
  /** Abstract unix socket that only the holder of the machine listens on. */
  readonly lockName: string;
}

export const MACHINE_LAYOUT: SandboxLayout = {
  prefix: 'cts-',
  stateDir: '/var/lib/cilium-ts/sandbox',
  cgroupName: 'cilium-ts',
  lockName: '\0cilium-ts-sandbox',
};

/** A layout of its own, for tests that run beside each other. */
export function privateLayout(name: string): SandboxLayout {
  return {
    prefix: `${name}-`,
    stateDir: `/var/lib/cilium-ts/${name}`,
    cgroupName: name,
    lockName: `\0${name}`,
  };
}

/** Where the build put things. */
export interface Artifacts {
  /** The repository (or installation) root; `dist` lies below it. */
  readonly root: string;
  readonly runtime: string;
  readonly images: string;
  readonly apiServer: string;
  readonly tools: string;
  readonly chart: string;
  readonly demo: string;
  readonly values: string;
}

export function artifactsOf(root: string): Artifacts {
  return {
    root,
    runtime: `${root}/dist/bin/cts-runtime`,
    images: `${root}/dist/images`,
    apiServer: `${root}/dist/apps/apiserver.cjs`,
    tools: `${root}/dist/tools/bin`,
    chart: `${root}/deploy/chart`,
    demo: `${root}/deploy/demo`,
    values: `${root}/deploy/sandbox-values.yaml`,
  };
}
