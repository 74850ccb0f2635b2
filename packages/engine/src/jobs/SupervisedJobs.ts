/**
 * The Jobs capability over supervisors: every fact is read from the job directory and the process table, so any daemon can go on with
 * the jobs of an earlier one.
 */
import { type FSWatcher, mkdirSync, readdirSync, watch } from "node:fs"
import { basename, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { CurrentHome } from "../capability/CurrentHome.ts"
import { type JobHandle, JobError, Jobs, JobState } from "../capability/Jobs.ts"
import { Keyring } from "../keys/Keyring.ts"
import { endSurvivors } from "./endSurvivors.ts"
import { GRACE_MILLIS, jobFiles, jobIdOf, readIdentity, readSpec, readStatus } from "./JobDirectory.ts"
import { formatIdentity, isRunning, parseIdentity, signalProcess } from "./ProcessIdentity.ts"
import { startSupervisor } from "./startSupervisor.ts"

/** For file systems without notification, and for a supervisor that dies without a word. */
const POLL_MILLIS = 1000

const failed = (doing: string, cause: unknown): JobError => {
  const { code, message } = cause as NodeJS.ErrnoException
  const full = code === "ENOSPC" || /ENOSPC/.test(message)
  return new JobError({
    message: full ? `${doing}: the disk is full` : `${doing}: ${message}`,
    ...(full ? { remedy: "Free some space where HYPER_HOME lies and run `hyper resume`." } : code === "EACCES" || code === "EPERM" ? { remedy: "Check who owns the home (HYPER_HOME) and its jobs directory." } : {})
  })
}

const handleOf = (directory: string): JobHandle | undefined => {
  const supervisor = readIdentity(jobFiles(directory).supervisor)
  return supervisor === undefined ? undefined : { id: basename(directory), supervisor: formatIdentity(supervisor), directory }
}

/** Ends the process of a job whose supervisor is gone. */
const endOrphan = (handle: JobHandle) =>
  Effect.promise(() => {
    const child = readIdentity(jobFiles(handle.directory).child)
    return endSurvivors(handle.directory, child !== undefined && isRunning(child) ? child.pid : undefined)
  })

const supervisorRuns = (handle: JobHandle): boolean => {
  const identity = parseIdentity(handle.supervisor)
  return identity !== undefined && isRunning(identity)
}

const stateOf = Effect.fnUntraced(function*(handle: JobHandle): Effect.fn.Return<JobState, JobError> {
  const first = readStatus(handle.directory)
  if (first?._tag === "Ended") return first
  if (supervisorRuns(handle)) return first ?? { _tag: "Starting" }
  // it may have written its last word between the two looks
  const last = readStatus(handle.directory)
  if (last?._tag === "Ended") return last
  const left = yield* endOrphan(handle)
  if (left.length > 0) return yield* new JobError({ message: `Job ${handle.id} has lost its supervisor, and its processes ${left.join(", ")} could not be ended`, remedy: `End them by hand (kill -9 ${left.join(" ")}), then run \`hyper resume\`.` })
  return { _tag: "Lost", message: `The supervisor of job ${handle.id} is gone (killed, or the machine was restarted); what was left of the job has been ended` }
})

/** Completes at the next sign that the status may have changed. Watch and timer are gone then, as they are when it is interrupted. */
const changed = (directory: string): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    let watcher: FSWatcher | undefined
    const close = () => {
      clearTimeout(timer)
      watcher?.close()
    }
    const wake = () => {
      close()
      resume(Effect.void)
    }
    const timer = setTimeout(wake, POLL_MILLIS)
    try {
      watcher = watch(directory, (_, name) => {
        if (name === "status.json") wake()
      })
      watcher.on("error", () => {}) // the timer goes on
    } catch {
      // no more watches, or no directory: the timer goes on
    }
    if (readStatus(directory)?._tag === "Ended") wake()
    return Effect.sync(close)
  })

const ended = Effect.fn("Jobs.ended")(function*(handle: JobHandle) {
  while (true) {
    const state = yield* stateOf(handle)
    if (state._tag === "Ended" || state._tag === "Lost") return state
    yield* changed(handle.directory)
  }
})

const cancel = Effect.fn("Jobs.cancel")(function*(handle: JobHandle) {
  const identity = parseIdentity(handle.supervisor)
  const signal = (name: NodeJS.Signals) => Effect.try({ try: () => identity !== undefined && signalProcess(identity, name), catch: (cause) => failed(`Cannot cancel job ${handle.id}`, cause) })
  if ((yield* stateOf(handle))._tag !== "Ended" && (yield* signal("SIGTERM"))) {
    const grace = readSpec(handle.directory)?.graceMillis ?? GRACE_MILLIS
    const state = yield* Effect.timeoutOption(ended(handle), grace + 5000)
    if (state._tag === "None") {
      yield* signal("SIGKILL")
      yield* endOrphan(handle)
    }
  }
  // the supervisor leaves a moment after its last word
  for (let round = 0; supervisorRuns(handle) && round < 200; round++) yield* Effect.sleep(10)
})

export const make = Effect.gen(function*() {
  const home = yield* CurrentHome
  const keyring = yield* Keyring

  const directoryOf = (jobKey: string) =>
    Effect.try({
      try: () => {
        const directory = join(home.jobs, jobIdOf(jobKey))
        mkdirSync(directory, { recursive: true, mode: 0o700 })
        return directory
      },
      catch: (cause) => failed("Cannot make the job's directory", cause)
    })

  return Jobs.of({
    directory: directoryOf,
    start: Effect.fn("Jobs.start")(function*(jobKey, spec) {
      const directory = yield* directoryOf(jobKey)
      const there = handleOf(directory)
      if (there !== undefined) return there
      const nodeKey = yield* keyring.publicKey("node").pipe(
        Effect.andThen(keyring.get("node")),
        Effect.mapError((error) => new JobError({ message: `Cannot read this node's key: ${error.message}` }))
      )
      // never left half-way: an interrupted caller finds the job by its key
      yield* Effect.uninterruptible(
        Effect.tryPromise({
          try: () => startSupervisor(directory, { version: 1, job: jobIdOf(jobKey), spec, nodeKey: Redacted.value(nodeKey) }),
          catch: (cause) => failed(`Cannot start ${spec.purpose} job ${jobIdOf(jobKey)}`, cause)
        })
      )
      const handle = handleOf(directory)
      return handle ?? (yield* new JobError({ message: `The supervisor of job ${jobIdOf(jobKey)} left without a trace; see ${jobFiles(directory).supervisorLog}` }))
    }),
    state: stateOf,
    ended,
    cancel,
    list: Effect.try({
      try: () =>
        readdirSync(home.jobs, { withFileTypes: true }).flatMap((entry) => {
          if (!entry.isDirectory()) return []
          const directory = join(home.jobs, entry.name)
          const handle = handleOf(directory)
          const spec = readSpec(directory)
          return handle === undefined || spec === undefined ? [] : [{ handle, purpose: spec.purpose, runId: spec.runId, stepId: spec.stepId }]
        }),
      catch: (cause) => failed("Cannot list the jobs", cause)
    }).pipe(Effect.catch((error) => (/ENOENT/.test(error.message) ? Effect.succeed([]) : Effect.fail(error))))
  })
})

export const layer = Layer.effect(Jobs, make)
