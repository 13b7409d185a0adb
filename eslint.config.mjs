// SPDX-License-Identifier: Apache-2.0
import nx from '@nx/eslint-plugin';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

// Who may import whom. Domain and io stand on the same floor and never see each other; apps never import apps.
// tools/tidy holds a fixture that breaks each line, and a test that lint then fails.
export const depConstraints = [
  { sourceTag: 'floor:core', onlyDependOnLibsWithTags: ['floor:core'] },
  { sourceTag: 'floor:abi', onlyDependOnLibsWithTags: ['floor:core', 'floor:abi'] },
  { sourceTag: 'floor:domain', onlyDependOnLibsWithTags: ['floor:core', 'floor:abi', 'floor:domain'] },
  { sourceTag: 'floor:io', onlyDependOnLibsWithTags: ['floor:core', 'floor:abi', 'floor:io'] },
  {
    sourceTag: 'floor:app',
    onlyDependOnLibsWithTags: ['floor:core', 'floor:abi', 'floor:domain', 'floor:io'],
  },
  {
    sourceTag: 'floor:tool',
    onlyDependOnLibsWithTags: ['floor:core', 'floor:abi', 'floor:domain', 'floor:io', 'floor:tool'],
  },
  // The specification of policy and what it judges share no code.
  { sourceTag: 'judge:policy', notDependOnLibsWithTags: ['judged:policy'] },
  { sourceTag: 'judged:policy', notDependOnLibsWithTags: ['judge:policy'] },
  { sourceTag: 'runs:any', onlyDependOnLibsWithTags: ['runs:any'] },
];

const testFiles = ['**/*.test.ts', '**/*.e2e.ts', '**/testing.ts', '**/*.cases.ts'];

export default tseslint.config(
  {
    ignores: [
      'dist/**',
      '**/node_modules/**',
      '**/generated/**',
      'tools/tidy/fixtures/**',
      '.nx/**',
      '.sandbox/**',
    ],
  },
  {
    files: ['**/*.ts'],
    languageOptions: { parser: tseslint.parser, parserOptions: { sourceType: 'module' } },
    plugins: { '@typescript-eslint': tseslint.plugin, '@nx': nx },
    rules: {
      '@nx/enforce-module-boundaries': [
        'error',
        {
          allow: [],
          depConstraints,
          enforceBuildableLibDependency: false,
          // Its part that reads YAML is loaded when somebody asks; nx sees one library.
          checkDynamicDependenciesExceptions: ['@cilium-ts/policy'],
        },
      ],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none' },
      ],
      '@typescript-eslint/no-explicit-any': 'error',
      'no-restricted-syntax': [
        'error',
        {
          selector: 'MetaProperty[meta.name="import"]',
          message: 'bundles and tests are CommonJS: no import.meta',
        },
      ],
      eqeqeq: 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'max-lines': ['error', { max: 500, skipBlankLines: false, skipComments: false }],
      'max-params': ['error', 5],
    },
  },
  {
    files: [
      'libs/{policy,policy-oracle,identity,loadbalancer,flow,node-plan,base,net,tables,abi,crd,agent-api}/src/**/*.ts',
    ],
    ignores: testFiles,
    rules: {
      'no-restricted-imports': [
        'error',
        {
          // Exact names: as a pattern, `net` would also catch @cilium-ts/net.
          paths: ['fs', 'path', 'net', 'os'].map((name) => ({
            name,
            message: 'pure floors run in any JavaScript engine',
          })),
          patterns: [{ group: ['node:*'], message: 'pure floors run in any JavaScript engine' }],
        },
      ],
    },
  },
  {
    files: ['libs/{policy,policy-oracle,identity,loadbalancer,flow,node-plan}/src/**/*.ts'],
    ignores: testFiles,
    rules: {
      'no-restricted-globals': ['error', 'setTimeout', 'setInterval', 'process', 'console', 'fetch'],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: 'time comes in as an argument' },
        { object: 'Math', property: 'random', message: 'chance comes in as an argument' },
      ],
    },
  },
  { files: testFiles, rules: { '@typescript-eslint/no-explicit-any': 'off', 'max-lines': 'off' } },
  prettier,
);
