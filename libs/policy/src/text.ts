// SPDX-License-Identifier: Apache-2.0
// What reads policies as texts: apart from the rest, since nodes at work need no YAML.
export { parsePolicyText, type TextPlace, type TextPolicy } from './policy-text.ts';
export { answerExplain, type AskedEndpoint, type AskedFlow } from './explain-request.ts';
