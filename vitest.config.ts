import { configDefaults, defineConfig } from "vitest/config";

/** Recording and replaying every fixture program takes minutes: `npm run replay:fixtures` does that. */
const withReplays = process.env.REPLAY_FIXTURES === "1";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, ...(withReplays ? [] : ["test/replay/fixtures*.test.ts"])],
    // Tests start traced programs: a process per test file keeps signals and file numbers apart.
    pool: "forks",
    maxWorkers: 2,
    // For what hangs: on a machine whose CPUs others use too, the longest test without a limit of its own took 22 s.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
