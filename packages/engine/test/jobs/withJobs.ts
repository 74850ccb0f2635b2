/** A home in a temporary directory with the real Jobs and Keyring; whatever a test left running is ended with it. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { CurrentHome } from "../../src/capability/CurrentHome.ts"
import { Jobs } from "../../src/capability/Jobs.ts"
import { homeAt } from "../../src/Home.ts"
import { layer as jobsLayer } from "../../src/jobs/SupervisedJobs.ts"
import { layer as keyringLayer } from "../../src/keys/FileKeyring.ts"
import type { Keyring } from "../../src/keys/Keyring.ts"

export const jobsIn = (root: string): Layer.Layer<Jobs | Keyring, unknown> =>
  jobsLayer.pipe(Layer.provideMerge(keyringLayer), Layer.provide(Layer.succeed(CurrentHome, homeAt(root, join(root, "cache")))))

export const withJobs = async (body: (jobs: Jobs["Service"], root: string) => Effect.Effect<void, unknown, Jobs | Keyring>): Promise<void> => {
  const root = mkdtempSync(join(tmpdir(), "hj-"))
  try {
    await Effect.runPromise(
      Effect.gen(function*() {
        const jobs = yield* Jobs
        yield* Effect.ensuring(
          body(jobs, root),
          Effect.orDie(Effect.flatMap(jobs.list, (all) => Effect.forEach(all, ({ handle }) => jobs.cancel(handle))))
        )
      }).pipe(Effect.provide(jobsIn(root)))
    )
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

export const sh = (script: string): readonly [string, ...Array<string>] => ["/bin/sh", "-c", script]

export const spec = { purpose: "train", runId: "run-1", stepId: "train", env: { PATH: "/usr/bin:/bin" } }

/** Waits for a condition that another process brings about; fails with its name rather than hanging. */
export const until = async (what: string, holds: () => boolean, millis = 20_000): Promise<void> => {
  const end = Date.now() + millis
  while (!holds()) {
    if (Date.now() > end) throw new Error(`never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
