/** Follows the runs that commits have started, to their ends, whoever watches: limits, the outcome in SQL, and what is to be reported. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { existsSync, promises as fs } from "node:fs"
import { join } from "node:path"
import { CurrentHome } from "../capability/CurrentHome.ts"
import { printable } from "../git/printable.ts"
import { costOf } from "../rewards/cost.ts"
import { foldRun, type Run } from "../run/Run.ts"
import { Runner } from "../run/Runner.ts"
import { RunStore } from "../run/RunStore.ts"
import type { Endpoint } from "../stage/values.ts"
import { TelemetryStore } from "../telemetry/TelemetryStore.ts"
import type { Limits } from "./Policy.ts"
import { FINAL, noteOf, statusOf } from "./reportOf.ts"
import { Reports } from "./Reports.ts"
import { Tellers } from "./Tellers.ts"
import type { StoredSpec } from "./WatchSpec.ts"
import { type WatchedFile, WatchStore } from "./WatchStore.ts"

const LIMIT_LOOK = "1 second"
/** The database is away for a moment: the run itself goes on. */
const AWAY = Schedule.spaced("5 seconds")
const ALL = 1_000_000

export const commitDirectory = (root: string, watch: string, commit: string): string => join(root, "watch", watch, "commits", commit)

/** What a run has gone beyond, in words; undefined while it may go on. */
export const beyond = (limits: Limits, seconds: number, dollars: number): string | undefined =>
  limits.seconds !== undefined && seconds > limits.seconds
    ? `it ran longer than the policy's ${limits.seconds} s`
    : limits.dollars !== undefined && dollars > limits.dollars
      ? `it cost more than the policy's $${limits.dollars}`
      : undefined

/** The training's device class is known when it has ended; until then, what this machine has. */
const deviceClassOf = (run: Run): string => (run.steps.find((step) => step.kind === "train" && step.state === "done")?.output as { deviceClass?: string } | undefined)?.deviceClass ?? (existsSync("/proc/driver/nvidia/version") ? "cuda" : "cpu")

export class WatchedRuns extends Context.Service<
  WatchedRuns,
  {
    /** Returns at once. */
    readonly follow: (row: WatchedFile, spec: StoredSpec) => Effect.Effect<void>
    /** After a file's state was recorded: its status goes into the outbox. */
    readonly recorded: (row: WatchedFile, spec: StoredSpec) => Effect.Effect<void>
    /** After the last file of a commit was recorded, or its last run has ended: its note goes into the outbox, once. */
    readonly settle: (watch: string, commit: string, spec: StoredSpec) => Effect.Effect<void>
  }
>()("@hypernode/engine/watch/WatchedRuns") {
  static readonly layer: Layer.Layer<WatchedRuns, never, WatchStore | Reports | Tellers | Runner | RunStore | TelemetryStore | CurrentHome> = Layer.effect(
    WatchedRuns,
    Effect.gen(function* () {
      const store = yield* WatchStore
      const reports = yield* Reports
      const tellers = yield* Tellers
      const runner = yield* Runner
      const runs = yield* RunStore
      const telemetry = yield* TelemetryStore
      const home = yield* CurrentHome
      const fibers = yield* FiberMap.make<string>()
      const quietly = <A, E extends { readonly message: string }>(effect: Effect.Effect<A, E>) => Effect.catch(effect, (error) => Effect.asVoid(Effect.logWarning(`watch: ${error.message}`)))

      const load = (runId: string) => Effect.map(runs.events(runId), foldRun)
      const dollarsOf = (run: Run) => Effect.map(telemetry.samples(run.id, { limit: ALL }), (samples) => costOf(samples, deviceClassOf(run)).dollars)

      const settle = (watch: string, commit: string, spec: StoredSpec) =>
        quietly(Effect.gen(function* () {
          if (!(yield* store.isHandled(watch, commit))) return
          const rows = yield* store.files(watch, commit)
          if (rows.some((row) => !FINAL.has(row.state))) return
          // again, for those that a crash kept from the outbox: a report that is there already stays as it is
          for (const row of rows) yield* recorded(row, spec)
          if (spec.notes && rows.length > 0) yield* store.report({ watch, commit, target: "note", subject: "", state: "done", payload: noteOf(commit, spec.branch, rows) })
          yield* store.settled(watch, commit)
          yield* reports.wake
          // a run that failed may be resumed, and reads the commit's files again
          if (rows.every((row) => row.state !== "failed" && row.state !== "cancelled")) yield* Effect.promise(() => fs.rm(commitDirectory(home.root, watch, commit), { recursive: true, force: true }).catch(() => undefined))
        }))

      const recorded = (row: WatchedFile, spec: StoredSpec) =>
        quietly(Effect.gen(function* () {
          if (spec.status === undefined) return
          const status = statusOf(row)
          yield* store.report({ watch: row.watch, commit: row.commit, target: "status", subject: row.file, state: status.state, payload: status })
          yield* reports.wake
        }))

      const enforce = (runId: string, limits: Limits) =>
        Effect.gen(function* () {
          for (;;) {
            yield* Effect.sleep(LIMIT_LOOK)
            const run = yield* load(runId)
            if (run?.startedAt === undefined || run.endedAt !== undefined) continue
            const seconds = ((yield* Clock.currentTimeMillis) - run.startedAt) / 1000
            const why = beyond(limits, seconds, limits.dollars === undefined ? 0 : yield* dollarsOf(run))
            if (why === undefined) continue
            yield* runner.cancel(runId, "watch").pipe(Effect.catchTag("RunHasEnded", () => Effect.void))
            return why
          }
        })

      const toEnd = Effect.fnUntraced(function* (row: WatchedFile, spec: StoredSpec) {
        const runId = row.runId as string
        let exceeded: string | undefined
        const ended = Stream.runDrain(runs.follow(runId))
        if (row.limits === null) yield* ended
        else {
          const limited = enforce(runId, row.limits).pipe(Effect.flatMap((why) => { exceeded = why; return Effect.never }))
          yield* Effect.raceFirst(ended, limited)
        }
        const run = yield* load(runId)
        const state = run?.state === "succeeded" ? "succeeded" : run?.state === "cancelled" ? "cancelled" : "failed"
        const failed = run?.steps.find((step) => step.state === "failed")
        const message = exceeded ?? (failed?.error === undefined ? null : printable(`${failed.id}: ${failed.error.message}`, 500))
        const endpoint = (run?.steps.find((step) => step.kind === "serve" && (step.state === "done" || step.state === "cached"))?.output as Endpoint | undefined)?.url ?? null
        const dollars = run === undefined ? 0 : yield* dollarsOf(run)
        yield* store.end(row, { state, message, endpoint, dollars })
        tellers.tell(row.watch, { type: "ended", commit: row.commit, file: printable(row.file), runId, state, ...(message === null ? {} : { message }) })
        yield* recorded({ ...row, state, message, endpoint, dollars }, spec)
        yield* settle(row.watch, row.commit, spec)
      })

      return WatchedRuns.of({
        // whoever asks may be uninterruptible; a daemon that leaves must end this
        follow: (row, spec) => Effect.asVoid(FiberMap.run(fibers, `${row.watch} ${row.runId}`, Effect.interruptible(quietly(Effect.retry(toEnd(row, spec), { schedule: AWAY, times: 1_000 }))), { onlyIfMissing: true })),
        recorded,
        settle
      })
    })
  )
}
