// SPDX-License-Identifier: Apache-2.0
// The object types as they are on the wire. `@kubernetes/client-node` describes objects after its own decoding (dates as
// Date, reserved words with an underscore); nothing decodes here, so the types are mapped back. Type imports only: the
// package costs 500 ms and 134 MB at run time.
import type * as k8s from '@kubernetes/client-node';

type WireKey<K> = K extends `_${infer Rest}` ? Rest : K;

/** A client-node type as JSON: dates are RFC 3339 text, `_from` is `from`, optional fields may be undefined. */
export type Wire<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? Wire<Item>[]
    : T extends object
      ? string extends keyof T
        ? Record<string, Wire<T[keyof T]>>
        : {
            [K in keyof T as WireKey<K>]: Record<never, never> extends Pick<T, K>
              ? Wire<T[K]> | undefined
              : Wire<T[K]>;
          }
      : T;

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean | undefined;
  blockOwnerDeletion?: boolean | undefined;
}

export interface ObjectMeta {
  name: string;
  namespace?: string | undefined;
  generateName?: string | undefined;
  uid?: string | undefined;
  resourceVersion?: string | undefined;
  generation?: number | undefined;
  creationTimestamp?: string | undefined;
  deletionTimestamp?: string | undefined;
  deletionGracePeriodSeconds?: number | undefined;
  labels?: Record<string, string> | undefined;
  annotations?: Record<string, string> | undefined;
  finalizers?: string[] | undefined;
  ownerReferences?: OwnerReference[] | undefined;
  managedFields?: unknown[] | undefined;
}

/** What every stored object has. */
export interface KubeObject {
  apiVersion?: string | undefined;
  kind?: string | undefined;
  metadata: ObjectMeta;
}

type Typed<T> = KubeObject & Omit<Wire<T>, 'apiVersion' | 'kind' | 'metadata'>;

/** An object of a kind without a type here, e.g. a custom resource. */
export interface UntypedObject extends KubeObject {
  spec?: Record<string, unknown> | undefined;
  status?: Record<string, unknown> | undefined;
  [field: string]: unknown;
}

export type Pod = Typed<k8s.V1Pod>;
export type PodSpec = Wire<k8s.V1PodSpec>;
export type PodStatus = Wire<k8s.V1PodStatus>;
export type PodCondition = Wire<k8s.V1PodCondition>;
export type PodTemplateSpec = Wire<k8s.V1PodTemplateSpec>;
export type Container = Wire<k8s.V1Container>;
export type ContainerStatus = Wire<k8s.V1ContainerStatus>;
export type Service = Typed<k8s.V1Service>;
export type ServicePort = Wire<k8s.V1ServicePort>;
export type Endpoints = Typed<k8s.V1Endpoints>;
export type EndpointSlice = Typed<k8s.V1EndpointSlice>;
export type SliceEndpoint = Wire<k8s.V1Endpoint>;
export type Node = Typed<k8s.V1Node>;
export type NodeSpec = Wire<k8s.V1NodeSpec>;
export type Namespace = Typed<k8s.V1Namespace>;
export type ConfigMap = Typed<k8s.V1ConfigMap>;
export type Secret = Typed<k8s.V1Secret>;
export type ServiceAccount = Typed<k8s.V1ServiceAccount>;
export type Event = Typed<k8s.CoreV1Event>;
export type Lease = Typed<k8s.V1Lease>;
export type NetworkPolicy = Typed<k8s.V1NetworkPolicy>;
export type Deployment = Typed<k8s.V1Deployment>;
export type DeploymentCondition = Wire<k8s.V1DeploymentCondition>;
export type ReplicaSet = Typed<k8s.V1ReplicaSet>;
export type DaemonSet = Typed<k8s.V1DaemonSet>;
export type StatefulSet = Typed<k8s.V1StatefulSet>;
export interface ControllerRevision extends KubeObject {
  data?: unknown;
  revision: number;
}
export type Job = Typed<k8s.V1Job>;
export type CustomResourceDefinition = Typed<k8s.V1CustomResourceDefinition>;
export type LabelSelector = Wire<k8s.V1LabelSelector>;
export type Toleration = Wire<k8s.V1Toleration>;
export type Taint = Wire<k8s.V1Taint>;
export type NodeSelectorTerm = Wire<k8s.V1NodeSelectorTerm>;

/** A page or a whole list of objects. */
export interface KubeList<T> {
  apiVersion?: string | undefined;
  kind?: string | undefined;
  metadata: {
    resourceVersion?: string | undefined;
    continue?: string | undefined;
    remainingItemCount?: number | undefined;
  };
  items: T[];
}
