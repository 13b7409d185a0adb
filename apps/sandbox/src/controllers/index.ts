// SPDX-License-Identifier: Apache-2.0
import type { Logger, Stoppable } from '@cilium-ts/base';
import type { KubeClient } from '@cilium-ts/kube';
import { createContext, viewsOf, type Context, type Controller } from './context.ts';
import { daemonSetController } from './daemon-set.ts';
import { deploymentController } from './deployment.ts';
import { endpointSliceController } from './endpoint-slice.ts';
import { garbageCollector } from './garbage-collector.ts';
import { jobController } from './job.ts';
import { namespaceController } from './namespace.ts';
import { eventSweeper, nodeTaintController, podCollector } from './node-duties.ts';
import { replicaSetController } from './replica-set.ts';
import { schedulerController } from './scheduler.ts';
import { statefulSetController } from './stateful-set.ts';

export interface ControllerOptions {
  readonly client: KubeClient;
  readonly log: Logger;
}

/** Runs what kube-controller-manager runs, as far as the sandbox has it. Returns at once; works once mirrors are full. */
export function startControllers(options: ControllerOptions): Stoppable {
  const context = createContext(options.client, options.log, 'controller-manager');
  return startAll(context, [
    replicaSetController(context),
    deploymentController(context),
    daemonSetController(context),
    statefulSetController(context),
    jobController(context),
    endpointSliceController(context),
    namespaceController(context),
    nodeTaintController(context),
    podCollector(context),
    garbageCollector(context),
    eventSweeper(context),
  ]);
}

/** Runs what kube-scheduler runs. */
export function startScheduler(options: ControllerOptions): Stoppable {
  const context = createContext(options.client, options.log, 'default-scheduler');
  return startAll(context, [schedulerController(context)], ['pods', 'nodes', 'namespaces']);
}

function startAll(
  context: Context,
  controllers: readonly Controller[],
  only?: readonly (keyof Context)[],
): Stoppable {
  const views = only ? viewsOf(pick(context, only)) : viewsOf(context);
  for (const view of views) view.start();
  let stopped = false;
  // A controller that acted on half a mirror would delete and create what only looks wrong.
  void Promise.all(views.map((view) => view.synced)).then(() => {
    if (!stopped) for (const controller of controllers) controller.start();
  });
  return {
    async stop() {
      stopped = true;
      await Promise.all(controllers.map((controller) => controller.stop()));
      await Promise.all(views.map((view) => view.stop()));
    },
  };
}

function pick(context: Context, names: readonly (keyof Context)[]): Context {
  return Object.fromEntries(names.map((name) => [name, context[name]])) as unknown as Context;
}
