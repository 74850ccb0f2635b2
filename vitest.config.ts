import { defineConfig } from "vitest/config"

/**
 * Live tests drive real processes on a machine that others may load: CI tries a failed one once more, and the report marks it as
 * retried. A test of an absence fails on its planted fault whatever the machine does.
 *
 * `test/**` beside each package's src. Long runs are in `*.soak.ts`; type tests in `*.types.ts` are checked by tsc.
 */
export default defineConfig({
  test: {
    // a machine's own Docker engine is not a test's to use: tests that need one start theirs
    env: { DOCKER_HOST: "unix:///nonexistent/docker.sock" },
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: "forks",
    projects: [
      { extends: true, test: { name: "unit", include: ["packages/*/test/**/*.test.ts"], exclude: ["**/*.live.test.ts"] } },
      { extends: true, test: { name: "live", include: ["packages/*/test/**/*.live.test.ts"], fileParallelism: false, retry: process.env["CI"] === "true" ? 1 : 0, testTimeout: 300_000, hookTimeout: 300_000 } },
      { extends: true, test: { name: "soak", include: ["packages/*/test/**/*.soak.ts"], fileParallelism: false, testTimeout: 3_600_000 } }
    ]
  }
})
