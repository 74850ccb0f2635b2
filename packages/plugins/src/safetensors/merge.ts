/**
 * Merges an adapter into its base by `hyper_trainer.merge`, as a supervised job: it outlives the daemon, and is found again by its key.
 * A merge that was cancelled, lost or already taken is made anew under the next key.
 */
import { rename, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import type { ArtifactRef } from "@hypernode/engine/artifact/Artifact"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { type JobHandle, Jobs } from "@hypernode/engine/capability/Jobs"
import { logTail } from "@hypernode/engine/jobs/logTail"
import type { StageContext } from "@hypernode/engine/plugin/Plugin"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import { jobFailure } from "@hypernode/engine/stage/jobFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import * as Effect from "effect/Effect"
import { pythonEnvironment } from "../trainer/Environment.ts"

/** Exit status of the trainer's programs for wrong input. */
const WRONG_INPUT = 65
const TRIES = 5

const onDisk = <A>(what: string, call: () => Promise<A>): Effect.Effect<A, StageError> =>
  Effect.uninterruptible(Effect.tryPromise({
    try: call,
    catch: (cause) => {
      const { code, message } = cause as NodeJS.ErrnoException
      return code === "ENOSPC" || code === "EDQUOT"
        ? new StageError({ reason: "OutOfSpace", message: `${what}: the disk is full`, remedy: "Free some space, then `hyper resume`." })
        : new StageError({ reason: "Unavailable", message: `${what}: ${message}` })
    }
  }))

/** The program's own sentences; what libraries print may quote anything, and stays in the log. */
const lastError = (directory: string): string => {
  const line = logTail(directory).split("\n").findLast((text) => text.startsWith("error: "))
  return line === undefined ? "" : `: ${line.slice("error: ".length, 500)}`
}

const failureOf = (handle: JobHandle, exitCode: number | null, signal: string | null): StageError => {
  const said = lastError(handle.directory)
  if (exitCode === WRONG_INPUT) return new StageError({ reason: "InvalidInput", message: `The adapter does not merge into its base${said}`, remedy: "safetensors({ merge: false }) exports the adapter as it is." })
  if (signal === "SIGKILL") return new StageError({ reason: "OutOfSpace", message: `The merge was killed${said}; a merge needs memory for the whole base model in float32`, remedy: "Free memory, or export the adapter as it is: safetensors({ merge: false })." })
  if (/No space left|make room/.test(said)) return new StageError({ reason: "OutOfSpace", message: `The merge failed${said}`, remedy: "Free some space, then `hyper resume`." })
  return new StageError({ reason: "JobFailed", message: `The merge ended with ${signal ?? `status ${exitCode}`}${said}`, remedy: `Its log is ${join(handle.directory, "output.log")}.` })
}

/** The full model's tree. `adapter` and `base` are trees in the store. */
export const mergeAdapter = Effect.fn("safetensors.merge")(function*(context: StageContext<unknown, unknown>, base: ArtifactRef, adapter: ArtifactRef) {
  const store = yield* ArtifactStore
  const jobs = yield* Jobs
  const progress = yield* Progress
  const environment = yield* pythonEnvironment(context.cache)
  const [baseDirectory, adapterDirectory] = [join(context.scratch, "base"), join(context.scratch, "adapter")]
  yield* Effect.mapError(store.materialize(base, baseDirectory), artifactFailure)
  yield* Effect.mapError(store.materialize(adapter, adapterDirectory), artifactFailure)
  yield* progress.log("Merging the adapter into its base")
  for (let n = 1; n <= TRIES; n++) {
    const key = `${context.jobKey}/merge/${n}`
    const directory = yield* Effect.mapError(jobs.directory(key), jobFailure)
    const [merged, taken] = [join(directory, "merged"), join(directory, "taken")]
    const handle = yield* Effect.mapError(
      jobs.start(key, {
        purpose: "merge",
        runId: context.runId,
        stepId: context.stepId,
        command: [environment.python, "-m", "hyper_trainer.merge", "--base", baseDirectory, "--adapter", adapterDirectory, "--out", merged],
        env: {
          PATH: "/usr/local/bin:/usr/bin:/bin", HOME: directory, LANG: "C.UTF-8", PYTHONPATH: environment.pythonPath, PYTHONUNBUFFERED: "1", PYTHONDONTWRITEBYTECODE: "1",
          PYTHONNOUSERSITE: "1", CUDA_VISIBLE_DEVICES: "" // merging is one sum a weight; on the CPU it gives the same bytes everywhere
        }
      }),
      jobFailure
    )
    const state = yield* jobs.ended(handle).pipe(Effect.mapError(jobFailure), Effect.onInterrupt(() => Effect.ignore(jobs.cancel(handle))))
    if (state._tag !== "Ended" || state.cancelled) continue
    if (state.exitCode !== 0 || state.signal !== null) return yield* failureOf(handle, state.exitCode, state.signal)
    // a crash from here on leaves no half-emptied `merged` that a second look could take for the whole
    const there = yield* onDisk("Taking the merged model", () => stat(merged).then(() => true, () => false))
    if (!there) continue
    yield* onDisk("Taking the merged model", () => rename(merged, taken))
    const tree = yield* Effect.mapError(store.putTree(taken, { move: true }), artifactFailure)
    yield* onDisk("Clearing up after the merge", () => rm(taken, { recursive: true, force: true }))
    return tree
  }
  return yield* new StageError({ reason: "JobFailed", message: `The merge was interrupted ${TRIES} times`, remedy: "Run `hyper resume`." })
})
