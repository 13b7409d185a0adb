// SPDX-License-Identifier: Apache-2.0
// Jest projects by what a test needs: nothing, a kernel with root, or a whole cluster.
const swc = (parser) => [
  '@swc/jest',
  { jsc: { parser, target: 'es2022' }, module: { type: 'commonjs' }, sourceMaps: 'inline' },
];
const transform = {
  '^.+\\.ts$': swc({ syntax: 'typescript' }),
  '^.+\\.m?js$': swc({ syntax: 'ecmascript' }),
};

const common = {
  rootDir: import.meta.dirname,
  roots: ['<rootDir>/apps', '<rootDir>/libs', '<rootDir>/tools'],
  transform,
  // Walks the tree itself: the end of find(1) is sometimes missed, and the run then waits for ever.
  haste: { forceNodeFilesystemAPI: true },
  testEnvironment: 'node',
  testEnvironmentOptions: {
    customExportConditions: ['@cilium-ts/source', 'node', 'node-addons', 'require', 'default'],
  },
  moduleNameMapper: {},
  transformIgnorePatterns: ['/node_modules/(?!(@nats-io|commander|@bufbuild|@opentelemetry|typebox)/)'],
  modulePathIgnorePatterns: ['<rootDir>/dist', '<rootDir>/.sandbox', '<rootDir>/tools/tidy/fixtures'],
};
export default {
  projects: [
    {
      ...common,
      displayName: 'unit',
      testMatch: ['<rootDir>/{apps,libs,tools}/**/*.test.ts'],
      testPathIgnorePatterns: ['\\.kernel\\.test\\.ts$', '/node_modules/'],
    },
    {
      ...common,
      displayName: 'kernel',
      testMatch: ['<rootDir>/{apps,libs,tools}/**/*.kernel.test.ts'],
      globalSetup: '<rootDir>/libs/native/src/test-run-up.ts',
      globalTeardown: '<rootDir>/libs/native/src/test-run-down.ts',
    },
    {
      ...common,
      displayName: 'sandbox',
      testMatch: ['<rootDir>/apps/e2e/src/**/*.e2e.ts'],
      globalSetup: '<rootDir>/apps/e2e/src/cluster-up.ts',
      globalTeardown: '<rootDir>/apps/e2e/src/cluster-down.ts',
    },
  ],
};
