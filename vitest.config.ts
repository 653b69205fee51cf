import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 180_000,
    hookTimeout: 180_000,
    setupFiles: ['test/support/keep-wasm-wrappers.ts'],
    pool: 'forks',
    maxWorkers: 2,
    reporters: process.env.CI ? ['default'] : ['dot'],
  },
});
