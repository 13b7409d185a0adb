// SPDX-License-Identifier: Apache-2.0
import type { KubeClient, Pod } from '@cilium-ts/kube';

interface TokenRequest {
  status?: { token?: string; expirationTimestamp?: string };
}

export interface IssuedToken {
  readonly token: string;
  /** Milliseconds from now after which a new one should be asked for (80 % of its life). */
  readonly refreshInMs: number;
}

/** Asks the API server for a token bound to the pod. @throws KubeError */
export async function requestToken(
  client: KubeClient,
  pod: Pod,
  audience: string | undefined,
  expirationSeconds: number,
): Promise<IssuedToken> {
  const namespace = pod.metadata.namespace ?? 'default';
  const account = pod.spec?.serviceAccountName || 'default';
  const answer = await client.raw<TokenRequest>(
    'POST',
    `/api/v1/namespaces/${encodeURIComponent(namespace)}/serviceaccounts/${encodeURIComponent(account)}/token`,
    {
      kind: 'TokenRequest',
      apiVersion: 'authentication.k8s.io/v1',
      spec: {
        ...(audience === undefined ? {} : { audiences: [audience] }),
        expirationSeconds,
        boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: pod.metadata.name, uid: pod.metadata.uid },
      },
    },
  );
  const token = answer.status?.token;
  if (!token) throw new Error(`the API server issued no token for service account ${namespace}/${account}`);
  const end = Date.parse(answer.status?.expirationTimestamp ?? '');
  const life = Number.isFinite(end) ? end - Date.now() : expirationSeconds * 1000;
  return { token, refreshInMs: Math.max(life * 0.8, 10_000) };
}
