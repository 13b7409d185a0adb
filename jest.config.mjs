// Jest projects by what a test needs: nothing, a kernel with root, or a whole cluster.
const transform = {
  '^.+\\.ts$': [
    '@swc/jest',
    { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'commonjs' }, sourceMaps: 'inline' },
  ],
};
const common = {
  rootDir: import.meta.dirname,
  transform,
  testEnvironment: 'node',
  testEnvironmentOptions: { customExportConditions: ['@cilium-ts/source', 'node', 'node-addons', 'require', 'default'] },
  moduleNameMapper: {},
  transformIgnorePatterns: ['/node_modules/(?!(@nats-io|commander|@bufbuild)/)'],
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
    { ...common, displayName: 'kernel', testMatch: ['<rootDir>/{apps,libs,tools}/**/*.kernel.test.ts'] },
    { ...common, displayName: 'sandbox', testMatch: ['<rootDir>/apps/e2e/src/**/*.e2e.ts'] },
  ],
};
