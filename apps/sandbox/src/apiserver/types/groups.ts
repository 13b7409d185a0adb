// SPDX-License-Identifier: Apache-2.0

/** Types of the groups beside core in the notation of `type-table.ts`. */
export const groupTypes: Readonly<Record<string, string>> = {
  apps: `
ControllerRevision: metadata? 1 meta.ObjectMeta; data 2 R; revision 3 l
DaemonSet: metadata? 1 meta.ObjectMeta; spec? 2 DaemonSetSpec; status? 3 DaemonSetStatus
DaemonSetCondition: type 1 s; status 2 s; lastTransitionTime? 3 t; reason? 4 s; message? 5 s
DaemonSetSpec: selector* 1 meta.LabelSelector; template 2 core.PodTemplateSpec;
  updateStrategy? 3 DaemonSetUpdateStrategy; minReadySeconds? 4 i; revisionHistoryLimit?* 6 i
DaemonSetStatus: currentNumberScheduled 1 i; numberMisscheduled 2 i; desiredNumberScheduled 3 i;
  numberReady 4 i; observedGeneration? 5 l; updatedNumberScheduled? 6 i; numberAvailable? 7 i;
  numberUnavailable? 8 i; collisionCount?* 9 i; conditions? 10 []DaemonSetCondition ~type =type
DaemonSetUpdateStrategy: type? 1 s; rollingUpdate?* 2 RollingUpdateDaemonSet
Deployment: metadata? 1 meta.ObjectMeta; spec? 2 DeploymentSpec; status? 3 DeploymentStatus
DeploymentCondition: type 1 s; status 2 s; lastUpdateTime 6 t; lastTransitionTime 7 t; reason 4 s;
  message 5 s
DeploymentSpec: replicas?* 1 i; selector* 2 meta.LabelSelector; template 3 core.PodTemplateSpec;
  strategy? 4 DeploymentStrategy ~^; minReadySeconds? 5 i; revisionHistoryLimit?* 6 i; paused? 7 b;
  progressDeadlineSeconds* 9 i
DeploymentStatus: observedGeneration? 1 l; replicas? 2 i; updatedReplicas? 3 i; readyReplicas? 7 i;
  availableReplicas? 4 i; unavailableReplicas? 5 i; conditions 6 []DeploymentCondition ~type =type;
  collisionCount?* 8 i
DeploymentStrategy: type? 1 s; rollingUpdate?* 2 RollingUpdateDeployment
ReplicaSet: metadata? 1 meta.ObjectMeta; spec? 2 ReplicaSetSpec; status? 3 ReplicaSetStatus
ReplicaSetCondition: type 1 s; status 2 s; lastTransitionTime? 3 t; reason? 4 s; message? 5 s
ReplicaSetSpec: replicas?* 1 i; minReadySeconds? 4 i; selector* 2 meta.LabelSelector;
  template? 3 core.PodTemplateSpec
ReplicaSetStatus: replicas 1 i; fullyLabeledReplicas? 2 i; readyReplicas? 4 i; availableReplicas? 5 i;
  observedGeneration? 3 l; conditions? 6 []ReplicaSetCondition ~type =type
RollingUpdateDaemonSet: maxUnavailable?* 1 x; maxSurge?* 2 x
RollingUpdateDeployment: maxUnavailable?* 1 x; maxSurge?* 2 x
RollingUpdateStatefulSetStrategy: partition?* 1 i; maxUnavailable?* 2 x
StatefulSet: metadata? 1 meta.ObjectMeta; spec? 2 StatefulSetSpec; status? 3 StatefulSetStatus
StatefulSetCondition: type 1 s; status 2 s; lastTransitionTime? 3 t; reason? 4 s; message? 5 s
StatefulSetOrdinals: start? 1 i
StatefulSetPersistentVolumeClaimRetentionPolicy: whenDeleted 1 s; whenScaled 2 s
StatefulSetSpec: replicas?* 1 i; selector* 2 meta.LabelSelector; template 3 core.PodTemplateSpec;
  volumeClaimTemplates? 4 []core.PersistentVolumeClaim; serviceName 5 s; podManagementPolicy? 6 s;
  updateStrategy 7 StatefulSetUpdateStrategy; revisionHistoryLimit* 8 i; minReadySeconds? 9 i;
  persistentVolumeClaimRetentionPolicy?* 10 StatefulSetPersistentVolumeClaimRetentionPolicy;
  ordinals?* 11 StatefulSetOrdinals
StatefulSetStatus: observedGeneration? 1 l; replicas 2 i; readyReplicas 3 i; currentReplicas 4 i;
  updatedReplicas 5 i; currentRevision 6 s; updateRevision 7 s; collisionCount?* 9 i;
  conditions? 10 []StatefulSetCondition ~type =type; availableReplicas? 11 i
StatefulSetUpdateStrategy: type? 1 s; rollingUpdate?* 2 RollingUpdateStatefulSetStrategy
`,
  batch: `
Job: metadata? 1 meta.ObjectMeta; spec? 2 JobSpec; status? 3 JobStatus
JobCondition: type 1 s; status 2 s; lastProbeTime? 3 t; lastTransitionTime? 4 t; reason? 5 s; message? 6 s
JobSpec: parallelism?* 1 i; completions?* 2 i; activeDeadlineSeconds?* 3 l;
  podFailurePolicy?* 11 PodFailurePolicy; successPolicy?* 16 SuccessPolicy; backoffLimit?* 7 i;
  backoffLimitPerIndex?* 12 i; maxFailedIndexes?* 13 i; selector?* 4 meta.LabelSelector;
  manualSelector?* 5 b; template 6 core.PodTemplateSpec; ttlSecondsAfterFinished?* 8 i;
  completionMode?* 9 s; suspend?* 10 b; podReplacementPolicy?* 14 s; managedBy?* 15 s
JobStatus: conditions? 1 []JobCondition ~type; startTime?* 2 t; completionTime?* 3 t; active? 4 i;
  succeeded? 5 i; failed? 6 i; terminating?* 11 i; completedIndexes? 7 s; failedIndexes?* 10 s;
  uncountedTerminatedPods?* 8 UncountedTerminatedPods; ready* 9 i
PodFailurePolicy: rules 1 []PodFailurePolicyRule
PodFailurePolicyOnExitCodesRequirement: containerName?* 1 s; operator 2 s; values 3 []i =@
PodFailurePolicyOnPodConditionsPattern: type 1 s; status 2 s
PodFailurePolicyRule: action 1 s; onExitCodes?* 2 PodFailurePolicyOnExitCodesRequirement;
  onPodConditions? 3 []PodFailurePolicyOnPodConditionsPattern
SuccessPolicy: rules 1 []SuccessPolicyRule
SuccessPolicyRule: succeededIndexes?* 1 s; succeededCount?* 2 i
UncountedTerminatedPods: succeeded? 1 []s =@; failed? 2 []s =@
`,
  discovery: `
Endpoint: addresses 1 []s =@; conditions 2 EndpointConditions; hostname?* 3 s;
  targetRef?* 4 core.ObjectReference; deprecatedTopology? 5 {}s; nodeName?* 6 s; zone?* 7 s;
  hints?* 8 EndpointHints
EndpointConditions: ready?* 1 b; serving?* 2 b; terminating?* 3 b
EndpointHints: forZones 1 []ForZone
EndpointPort!: name* 1 s; protocol* 2 s; port* 3 i; appProtocol?* 4 s
EndpointSlice: metadata? 1 meta.ObjectMeta; addressType 4 s; endpoints 2 []Endpoint; ports? 3 []EndpointPort
ForZone: name 1 s
`,
  networking: `
HTTPIngressPath: path? 1 s; pathType* 3 s; backend 2 IngressBackend
HTTPIngressRuleValue: paths 1 []HTTPIngressPath
IPBlock: cidr 1 s; except? 2 []s
Ingress: metadata? 1 meta.ObjectMeta; spec? 2 IngressSpec; status? 3 IngressStatus
IngressBackend: service?* 4 IngressServiceBackend; resource?* 3 core.TypedLocalObjectReference
IngressClass: metadata? 1 meta.ObjectMeta; spec? 2 IngressClassSpec
IngressClassParametersReference: apiGroup?* 1 s; kind 2 s; name 3 s; scope?* 4 s; namespace?* 5 s
IngressClassSpec: controller 1 s; parameters?* 2 IngressClassParametersReference
IngressLoadBalancerIngress: ip? 1 s; hostname? 2 s; ports? 4 []IngressPortStatus
IngressLoadBalancerStatus: ingress? 1 []IngressLoadBalancerIngress
IngressPortStatus: port 1 i; protocol 2 s; error?* 3 s
IngressRule: host? 1 s; <ingressRuleValue? 2 IngressRuleValue
IngressRuleValue: http?* 1 HTTPIngressRuleValue
IngressServiceBackend: name 1 s; port 2 ServiceBackendPort
IngressSpec: ingressClassName?* 4 s; defaultBackend?* 1 IngressBackend; tls? 2 []IngressTLS;
  rules? 3 []IngressRule
IngressStatus: loadBalancer? 1 IngressLoadBalancerStatus
IngressTLS: hosts? 1 []s; secretName? 2 s
NetworkPolicy: metadata? 1 meta.ObjectMeta; spec? 2 NetworkPolicySpec
NetworkPolicyEgressRule: ports? 1 []NetworkPolicyPort; to? 2 []NetworkPolicyPeer
NetworkPolicyIngressRule: ports? 1 []NetworkPolicyPort; from? 2 []NetworkPolicyPeer
NetworkPolicyPeer: podSelector?* 1 meta.LabelSelector; namespaceSelector?* 2 meta.LabelSelector;
  ipBlock?* 3 IPBlock
NetworkPolicyPort: protocol?* 1 s; port?* 2 x; endPort?* 3 i
NetworkPolicySpec: podSelector 1 meta.LabelSelector; ingress? 2 []NetworkPolicyIngressRule;
  egress? 3 []NetworkPolicyEgressRule; policyTypes? 4 []s
ServiceBackendPort!: name? 1 s; number? 2 i
`,
  rbac: `
AggregationRule: clusterRoleSelectors? 1 []meta.LabelSelector
ClusterRole: metadata? 1 meta.ObjectMeta; rules? 2 []PolicyRule; aggregationRule?* 3 AggregationRule
ClusterRoleBinding: metadata? 1 meta.ObjectMeta; subjects? 2 []Subject; roleRef 3 RoleRef
PolicyRule: verbs 1 []s; apiGroups? 2 []s; resources? 3 []s; resourceNames? 4 []s; nonResourceURLs? 5 []s
Role: metadata? 1 meta.ObjectMeta; rules? 2 []PolicyRule
RoleBinding: metadata? 1 meta.ObjectMeta; subjects? 2 []Subject; roleRef 3 RoleRef
RoleRef!: apiGroup 1 s; kind 2 s; name 3 s
Subject!: kind 1 s; apiGroup? 2 s; name 3 s; namespace? 4 s
`,
  coordination: `
Lease: metadata? 1 meta.ObjectMeta; spec? 2 LeaseSpec
LeaseSpec: holderIdentity?* 1 s; leaseDurationSeconds?* 2 i; acquireTime?* 3 T; renewTime?* 4 T;
  leaseTransitions?* 5 i; strategy?* 6 s; preferredHolder?* 7 s
`,
  policy: `
Eviction: metadata? 1 meta.ObjectMeta; deleteOptions?* 2 meta.DeleteOptions
PodDisruptionBudget: metadata? 1 meta.ObjectMeta; spec? 2 PodDisruptionBudgetSpec;
  status? 3 PodDisruptionBudgetStatus
PodDisruptionBudgetSpec: minAvailable?* 1 x; selector? 2 meta.LabelSelector; maxUnavailable?* 3 x;
  unhealthyPodEvictionPolicy?* 4 s
PodDisruptionBudgetStatus: observedGeneration? 1 l; disruptedPods? 2 {}t; disruptionsAllowed 3 i;
  currentHealthy 4 i; desiredHealthy 5 i; expectedPods 6 i; conditions? 7 []meta.Condition ~type =type
`,
  events: `
Event: metadata? 1 meta.ObjectMeta; eventTime 2 T; series?* 3 EventSeries; reportingController 4 s;
  reportingInstance 5 s; action 6 s; reason 7 s; regarding? 8 core.ObjectReference;
  related?* 9 core.ObjectReference; note? 10 s; type 11 s; deprecatedSource? 12 core.EventSource;
  deprecatedFirstTimestamp? 13 t; deprecatedLastTimestamp? 14 t; deprecatedCount? 15 i
EventSeries: count 1 i; lastObservedTime 2 T
`,
  authentication: `
BoundObjectReference: kind? 1 s; apiVersion? 2 s; name? 3 s; uid? 4 s
ExtraValue: items 1 []s
SelfSubjectReview: metadata? 1 meta.ObjectMeta; status 2 SelfSubjectReviewStatus
SelfSubjectReviewStatus: userInfo? 1 UserInfo
TokenRequest: metadata? 1 meta.ObjectMeta; spec 2 TokenRequestSpec; status? 3 TokenRequestStatus
TokenRequestSpec: audiences 1 []s; expirationSeconds?* 4 l; boundObjectRef?* 3 BoundObjectReference
TokenRequestStatus: token 1 s; expirationTimestamp 2 t
TokenReview: metadata? 1 meta.ObjectMeta; spec 2 TokenReviewSpec; status? 3 TokenReviewStatus
TokenReviewSpec: token? 1 s; audiences? 2 []s
TokenReviewStatus: authenticated? 1 b; user? 2 UserInfo; audiences? 4 []s; error? 3 s
UserInfo: username? 1 s; uid? 2 s; groups? 3 []s; extra? 4 {}ExtraValue
`,
  authorization: `
ExtraValue: items 1 []s
FieldSelectorAttributes: rawSelector? 1 s; requirements? 2 []meta.FieldSelectorRequirement
LabelSelectorAttributes: rawSelector? 1 s; requirements? 2 []meta.LabelSelectorRequirement
LocalSubjectAccessReview: metadata? 1 meta.ObjectMeta; spec 2 SubjectAccessReviewSpec;
  status? 3 SubjectAccessReviewStatus
NonResourceAttributes: path? 1 s; verb? 2 s
NonResourceRule: verbs 1 []s; nonResourceURLs? 2 []s
ResourceAttributes: namespace? 1 s; verb? 2 s; group? 3 s; version? 4 s; resource? 5 s; subresource? 6 s;
  name? 7 s; fieldSelector?* 8 FieldSelectorAttributes; labelSelector?* 9 LabelSelectorAttributes
ResourceRule: verbs 1 []s; apiGroups? 2 []s; resources? 3 []s; resourceNames? 4 []s
SelfSubjectAccessReview: metadata? 1 meta.ObjectMeta; spec 2 SelfSubjectAccessReviewSpec;
  status? 3 SubjectAccessReviewStatus
SelfSubjectAccessReviewSpec: resourceAttributes?* 1 ResourceAttributes;
  nonResourceAttributes?* 2 NonResourceAttributes
SelfSubjectRulesReview: metadata? 1 meta.ObjectMeta; spec 2 SelfSubjectRulesReviewSpec;
  status? 3 SubjectRulesReviewStatus
SelfSubjectRulesReviewSpec: namespace 1 s
SubjectAccessReview: metadata? 1 meta.ObjectMeta; spec 2 SubjectAccessReviewSpec;
  status? 3 SubjectAccessReviewStatus
SubjectAccessReviewSpec: resourceAttributes?* 1 ResourceAttributes;
  nonResourceAttributes?* 2 NonResourceAttributes; user? 3 s; groups? 4 []s; extra? 5 {}ExtraValue; uid? 6 s
SubjectAccessReviewStatus: allowed 1 b; denied? 4 b; reason? 2 s; evaluationError? 3 s
SubjectRulesReviewStatus: resourceRules 1 []ResourceRule; nonResourceRules 2 []NonResourceRule;
  incomplete 3 b; evaluationError? 4 s
`,
  scheduling: `
PriorityClass: metadata? 1 meta.ObjectMeta; value 2 i; globalDefault? 3 b; description? 4 s;
  preemptionPolicy?* 5 s
`,
  autoscaling: `
Scale: metadata? 1 meta.ObjectMeta; spec? 2 ScaleSpec; status? 3 ScaleStatus
ScaleSpec: replicas? 1 i
ScaleStatus: replicas 1 i; selector? 2 s
`,
};
