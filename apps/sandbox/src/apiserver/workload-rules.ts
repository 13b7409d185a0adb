// SPDX-License-Identifier: Apache-2.0
import { jsonEqual, type Dict, type FieldError, type KindRules, type KubeObject } from './model.ts';
import { checkLabels } from './names.ts';
import { checkPodSpec, setPodSpecDefaults } from './pod-rules.ts';
import { field } from './status.ts';

const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'];

/** Whether labels satisfy a LabelSelector object. */
export function selectorMatches(selector: Dict, labels: Record<string, string>): boolean {
  const wanted = Object.entries((selector.matchLabels ?? {}) as Record<string, string>);
  if (!wanted.every(([key, value]) => labels[key] === value)) return false;
  return ((selector.matchExpressions ?? []) as Dict[]).every(({ key, operator, values }) => {
    const value = labels[key as string];
    if (operator === 'Exists') return value !== undefined;
    if (operator === 'DoesNotExist') return value === undefined;
    const listed = value !== undefined && ((values ?? []) as string[]).includes(value);
    return operator === 'In' ? listed : !listed;
  });
}

/** Checks a LabelSelector object at `path`. */
export function checkSelector(selector: Dict | undefined, path: string): FieldError[] {
  const errors = checkLabels(selector?.matchLabels, `${path}.matchLabels`);
  for (const [index, { key, operator, values }] of ((selector?.matchExpressions ?? []) as Dict[]).entries()) {
    const at = `${path}.matchExpressions[${index}]`;
    if (!key) errors.push(field.required(`${at}.key`));
    if (!OPERATORS.includes(operator as string))
      errors.push(field.invalid(`${at}.operator`, operator ?? '', 'not a valid selector operator'));
    const many = ((values ?? []) as unknown[]).length;
    if ((operator === 'In' || operator === 'NotIn') && many === 0)
      errors.push(field.required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
    if ((operator === 'Exists' || operator === 'DoesNotExist') && many > 0)
      errors.push(
        field.forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
      );
  }
  return errors;
}

function checkTemplate(object: KubeObject, old: KubeObject | null, restart: readonly string[]): FieldError[] {
  const spec = (object.spec ?? {}) as Dict;
  const selector = spec.selector as Dict | undefined;
  const labels = (spec.template?.metadata?.labels ?? {}) as Record<string, string>;
  const errors: FieldError[] = [];
  if (!selector) errors.push(field.required('spec.selector'));
  else {
    errors.push(...checkSelector(selector, 'spec.selector'));
    const isEmpty =
      Object.keys((selector.matchLabels ?? {}) as Dict).length === 0 && !selector.matchExpressions?.length;
    if (isEmpty)
      errors.push(
        field.invalid(
          'spec.selector',
          selector,
          `empty selector is invalid for ${object.kind.toLowerCase()}`,
        ),
      );
    if (!selectorMatches(selector, labels))
      errors.push(
        field.invalid('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'),
      );
  }
  if (old && !jsonEqual(selector, old.spec?.selector))
    errors.push(field.invalid('spec.selector', selector, 'field is immutable'));
  errors.push(...checkLabels(labels, 'spec.template.metadata.labels'));
  errors.push(...checkPodSpec(spec.template?.spec as Dict, 'spec.template.spec'));
  const policy = spec.template?.spec?.restartPolicy as string;
  if (!restart.includes(policy))
    errors.push(field.unsupported('spec.template.spec.restartPolicy', policy, restart));
  if (spec.replicas < 0)
    errors.push(field.invalid('spec.replicas', spec.replicas, 'must be greater than or equal to 0'));
  return errors;
}

function templateDefaults(object: KubeObject): Dict {
  const spec = (object.spec ??= {}) as Dict;
  spec.template ??= {};
  spec.template.metadata ??= {};
  setPodSpecDefaults((spec.template.spec ??= {}) as Dict);
  return spec;
}

const ALWAYS = ['Always'];

const deployment: KindRules = {
  setDefaults: (object) => {
    const spec = templateDefaults(object);
    spec.replicas ??= 1;
    spec.revisionHistoryLimit ??= 10;
    spec.progressDeadlineSeconds ??= 600;
    spec.strategy ??= {};
    spec.strategy.type ??= 'RollingUpdate';
    if (spec.strategy.type === 'RollingUpdate') {
      spec.strategy.rollingUpdate ??= {};
      spec.strategy.rollingUpdate.maxUnavailable ??= '25%';
      spec.strategy.rollingUpdate.maxSurge ??= '25%';
    }
  },
  validate: (object, old) => {
    const errors = checkTemplate(object, old, ALWAYS);
    const strategy = object.spec.strategy as Dict;
    if (!['Recreate', 'RollingUpdate'].includes(strategy.type as string))
      errors.push(field.unsupported('spec.strategy.type', strategy.type, ['Recreate', 'RollingUpdate']));
    if (strategy.type === 'Recreate' && strategy.rollingUpdate)
      errors.push(
        field.forbidden(
          'spec.strategy.rollingUpdate',
          "may not be specified when strategy `type` is 'Recreate'",
        ),
      );
    return errors;
  },
};

const replicaSet: KindRules = {
  setDefaults: (object) => void (templateDefaults(object).replicas ??= 1),
  validate: (object, old) => checkTemplate(object, old, ALWAYS),
};

const daemonSet: KindRules = {
  setDefaults: (object) => {
    const spec = templateDefaults(object);
    spec.revisionHistoryLimit ??= 10;
    spec.updateStrategy ??= {};
    spec.updateStrategy.type ??= 'RollingUpdate';
    if (spec.updateStrategy.type === 'RollingUpdate') {
      spec.updateStrategy.rollingUpdate ??= {};
      spec.updateStrategy.rollingUpdate.maxUnavailable ??= 1;
      spec.updateStrategy.rollingUpdate.maxSurge ??= 0;
    }
  },
  validate: (object, old) => checkTemplate(object, old, ALWAYS),
};

const statefulSet: KindRules = {
  setDefaults: (object) => {
    const spec = templateDefaults(object);
    spec.replicas ??= 1;
    spec.revisionHistoryLimit ??= 10;
    spec.podManagementPolicy ??= 'OrderedReady';
    spec.updateStrategy ??= {};
    spec.updateStrategy.type ??= 'RollingUpdate';
    if (spec.updateStrategy.type === 'RollingUpdate')
      (spec.updateStrategy.rollingUpdate ??= {}).partition ??= 0;
    spec.persistentVolumeClaimRetentionPolicy ??= { whenDeleted: 'Retain', whenScaled: 'Retain' };
  },
  validate: (object, old) => checkTemplate(object, old, ALWAYS),
};

/** A job finds its pods by its own uid unless the user says how. */
function setJobDefaults(job: KubeObject): void {
  const spec = templateDefaults(job);
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  spec.parallelism ??= 1;
  spec.backoffLimit ??= 6;
  spec.completionMode ??= 'NonIndexed';
  spec.suspend ??= false;
  spec.manualSelector ??= false;
  spec.podReplacementPolicy ??= 'TerminatingOrFailed';
  if (!spec.manualSelector) {
    delete spec.manualSelector;
    const own = { 'batch.kubernetes.io/controller-uid': job.metadata.uid };
    spec.selector ??= { matchLabels: own };
    const labels = (spec.template.metadata.labels ??= {}) as Record<string, string>;
    labels['batch.kubernetes.io/controller-uid'] ??= job.metadata.uid;
    labels['batch.kubernetes.io/job-name'] ??= job.metadata.name;
    labels['controller-uid'] ??= job.metadata.uid;
    labels['job-name'] ??= job.metadata.name;
  }
}

const job: KindRules = {
  setDefaults: setJobDefaults,
  validate: (object, old) => {
    const errors = checkTemplate(object, old, ['OnFailure', 'Never']);
    if (old && !jsonEqual(object.spec.template, old.spec?.template))
      errors.push(field.invalid('spec.template', '{...}', 'field is immutable'));
    return errors;
  },
};

export const workloadRules: Readonly<Record<string, KindRules>> = {
  Deployment: deployment,
  ReplicaSet: replicaSet,
  DaemonSet: daemonSet,
  StatefulSet: statefulSet,
  Job: job,
};
