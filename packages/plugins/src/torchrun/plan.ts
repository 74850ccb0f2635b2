/** What is known before anything runs: part of the cache key, and what a plan says. */
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { homeFromEnv } from "@hypernode/engine/Home"
import type { Estimate, PlanNote } from "@hypernode/engine/plugin/Plugin"
import type { StageError } from "@hypernode/engine/stage/StageError"
import { likelySandbox, REMEDY } from "@hypernode/engine/sandbox/available"
import { environmentDigest, environmentPlan } from "../trainer/Environment.ts"
import { trainerPython } from "../trainer/Requirements.ts"
import type { Options } from "./Options.ts"

/** Over the trainer's sources: another trainer, another result. */
const trainerDigest = (): string => {
  const directory = join(trainerPython, "hyper_trainer")
  const hash = createHash("sha256")
  for (const name of readdirSync(directory).filter((file) => file.endsWith(".py")).toSorted()) hash.update(`${name}\0`).update(readFileSync(join(directory, name))).update("\0")
  return hash.digest("hex").slice(0, 16)
}

/** What "auto" comes to; the kind of GPU is in the result. */
const deviceOf = (options: Options): string => (options.device === "auto" ? (existsSync("/dev/nvidiactl") ? "cuda" : "cpu") : options.device)

export const fingerprint = (options: Options): Effect.Effect<unknown, StageError> => Effect.map(environmentDigest, (environment) => ({ trainer: trainerDigest(), environment, device: deviceOf(options) }))

const sandboxNote = (options: Options): Effect.Effect<{ readonly note: PlanNote; readonly tools: ReadonlyArray<string> }> => {
  if (options.sandbox === "none") {
    return Effect.succeed({ note: { level: "warn", message: `sandbox: none; trust tier: unsandboxed`, remedy: `Leave sandbox out: "required" is the default.` }, tools: [] })
  }
  return Effect.map(Effect.promise(likelySandbox), (available) => {
    if (available.kind === "container") return { note: { level: "info" as const, message: "sandbox: container; trust tier: sandboxed-container" }, tools: ["docker"] }
    if (available.kind === "bubblewrap") return { note: { level: "info" as const, message: "sandbox: bubblewrap; trust tier: sandboxed-bubblewrap" }, tools: ["bubblewrap"] }
    const why = available.reasons.join("; ")
    return options.sandbox === "required"
      ? { note: { level: "refuse" as const, message: `sandbox: "required", and none can be made here (${why})`, remedy: REMEDY }, tools: [] }
      : { note: { level: "warn" as const, message: `sandbox: none (${why}); trust tier: unsandboxed`, remedy: REMEDY }, tools: [] }
  })
}

export const estimate = (options: Options): Effect.Effect<Estimate> =>
  Effect.gen(function*() {
    const [sandbox, environment] = yield* Effect.all([sandboxNote(options), environmentPlan(homeFromEnv(process.env, process.cwd()).cache)], { concurrency: "unbounded" })
    return {
      // a step of the smallest model on a CPU, and of a large one on a GPU; without maxSteps it is the data that decides
      ...(options.maxSteps === undefined ? {} : { seconds: [15 + options.maxSteps * 0.02, 60 + options.maxSteps * 5] as const }),
      ...(environment.downloadBytes === 0 ? {} : { downloadBytes: environment.downloadBytes }),
      notes: [sandbox.note, ...environment.notes],
      sideEffects: [],
      tools: ["python >= 3.10", ...sandbox.tools],
      hosts: []
    }
  })
