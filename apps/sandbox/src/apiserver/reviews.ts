// SPDX-License-Identifier: Apache-2.0
import type { Authenticator, User } from './authentication.ts';
import type { Dict, Resource } from './model.ts';

const RULES = [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }];
const NON_RESOURCE_RULES = [{ verbs: ['*'], nonResourceURLs: ['*'] }];

/** Answers the reviews. Whoever is authenticated may do everything: this is a sandbox, not a place for secrets. */
export function review(resource: Resource, body: Dict, user: User, authenticator: Authenticator): Dict {
  const head = {
    ...body,
    apiVersion: `${resource.group}/${resource.version}`,
    kind: resource.kind,
    metadata: body.metadata ?? {},
  };
  switch (resource.kind) {
    case 'SelfSubjectReview':
      return { ...head, status: { userInfo: { ...user } } };
    case 'TokenReview': {
      const found = authenticator.userOfToken(
        String(body.spec?.token ?? ''),
        body.spec?.audiences?.[0] as string | undefined,
      );
      return {
        ...head,
        status: found
          ? {
              authenticated: true,
              user: found,
              ...(body.spec?.audiences ? { audiences: body.spec.audiences as unknown } : {}),
            }
          : { authenticated: false },
      };
    }
    case 'SelfSubjectRulesReview':
      return {
        ...head,
        status: { resourceRules: RULES, nonResourceRules: NON_RESOURCE_RULES, incomplete: false },
      };
    default:
      return {
        ...head,
        status: { allowed: true, reason: 'the sandbox allows everything to whoever is authenticated' },
      };
  }
}
