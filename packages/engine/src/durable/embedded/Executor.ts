/**
 * Drives the one function in this process, over the SDK's protocol and our own store: the part that an Inngest server plays elsewhere.
 * One fiber per workflow enters the function, writes down what it answers, and enters again when something it waits for is there.
 * A finished step is on disk before the next begins; a body that ended but was not yet written runs again after a crash.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberMap from "effect/FiberMap"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { Durable, DurableError, type WorkflowBody } from "../../run/Durable.ts"
import { makeChannel, type Stored } from "./Channel.ts"
import { EventBus, eventJson, type SentEvent, type Waiter } from "./EventBus.ts"
import { type EndStatus, makeExecutorStore, type StoredRun, type StoredWait } from "./ExecutorStore.ts"
import { LiveRun } from "./LiveRun.ts"
import type { FinishedStep, Mode, Op, Reply } from "./Protocol.ts"
import { StepWriter } from "./StepWriter.ts"

export interface ExecutorOptions {
  /** tries of a step, at least 1 */
  readonly attempts: number
  /** functions and steps under way at once, over all workflows */
  readonly concurrency: number
  /** before the second try; doubled for each further one, at most a minute */
  readonly backOffMillis: number
}

export const defaultOptions: ExecutorOptions = { attempts: 4, concurrency: 64, backOffMillis: 1_000 }

const longestBackOffMillis = 60_000
/** A timer longer than this is looked at again: machines sleep, and timers have a limit. */
const longestTimerMillis = 3_600_000

const asDurableError = (what: string) => (error: SqlError) => new DurableError({ message: `${what}: ${error.reason.cause instanceof Error ? error.reason.cause.message : error.message}` })

const nothingStored: StoredRun = { attempt: 0, retryAt: 0, finished: [], waits: [] }

/** A database that is away must not lose what has happened: what has to be written is tried until it is. */
const persist = <A, E>(write: Effect.Effect<A, E>): Effect.Effect<A> =>
  Effect.tapError(write, (error) => Effect.logWarning(`durable state could not be read or written, trying again: ${String(error)}`)).pipe(
    Effect.retry(Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("5 seconds")])),
    Effect.orDie
  )

export const makeExecutor = Effect.fnUntraced(function* (sql: SqlClient, epoch: number, body: WorkflowBody, options: ExecutorOptions) {
  const store = makeExecutorStore(sql, epoch)
  const context = yield* Effect.context<never>()
  const promise = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromiseWith(context)(effect)
  const writer = new StepWriter((writes) => promise(store.finish(writes)))
  const bus = new EventBus()
  const live = new Map<string, LiveRun>()
  const endings = new Map<string, Deferred.Deferred<void>>()
  const fibers = yield* FiberMap.make<string>()
  const places = Semaphore.makeUnsafe(options.concurrency)
  let closed = false
  yield* Effect.addFinalizer(() => Effect.sync(() => (closed = true)))

  const checkpoint = async (runId: string, steps: ReadonlyArray<FinishedStep>): Promise<Stored> => {
    const run = live.get(runId)
    if (closed || run === undefined || run.refused) return "refused"
    try {
      for (const step of steps) {
        if (!(await writer.write({ runId, step }))) {
          run.refused = true
          return "refused"
        }
        run.add(step)
      }
      return "stored"
    } catch {
      return "unavailable"
    }
  }
  const channel = makeChannel(body, options.attempts, checkpoint)

  const finish = (run: LiveRun, step: FinishedStep): Effect.Effect<void> =>
    Effect.gen(function* () {
      if (yield* persist(Effect.tryPromise(() => writer.write({ runId: run.id, step })))) run.add(step)
      else run.refused = true
      run.wake()
    })

  const backOff = (attempt: number, asked: number | undefined): number => asked ?? Math.min(longestBackOffMillis, options.backOffMillis * 2 ** (attempt - 1))

  const until = (at: number): Effect.Effect<void> =>
    Effect.gen(function* () {
      for (;;) {
        const left = at - (yield* Clock.currentTimeMillis)
        if (left <= 0) return
        yield* Effect.sleep(Math.min(left, longestTimerMillis))
      }
    })

  const call = (run: LiveRun, mode: Mode, attempt: number): Effect.Effect<Reply> =>
    places.withPermit(
      Effect.promise(() =>
        channel.call({ runId: run.id, finished: run.finished, attempt, attempts: options.attempts, mode }).catch((cause: unknown): Reply => ({ _tag: "Failed", retry: false, retryAfterMillis: undefined, message: String(cause) }))
      )
    )

  /** One step by itself: its tries, with back-off between them. `at` is when the next may begin. */
  const runStep = (run: LiveRun, hash: string, attempt: number, at: number): Effect.Effect<void> =>
    Effect.gen(function* () {
      yield* until(at)
      const reply = yield* call(run, { _tag: "Step", hash }, attempt)
      if (run.refused) return run.wake()
      const mine = reply._tag === "Ops" ? reply.ops.find((op) => op._tag === "Finished" && op.step.hash === hash) : undefined
      if (mine?._tag === "Finished") return yield* finish(run, mine.step)
      const message = reply._tag === "Failed" ? reply.message : reply.ops.map((op) => (op._tag === "TryAgain" ? op.message : "")).join("")
      if (attempt + 1 >= options.attempts || (reply._tag === "Failed" && !reply.retry)) return yield* finish(run, { hash, kind: "error", json: JSON.stringify({ name: "Error", message }) })
      yield* tryAgain(run, hash, attempt + 1, reply.retryAfterMillis)
    })

  const tryAgain = (run: LiveRun, hash: string, attempt: number, asked: number | undefined): Effect.Effect<void> =>
    Effect.gen(function* () {
      const at = (yield* Clock.currentTimeMillis) + backOff(attempt, asked)
      yield* persist(store.wait(run.id, { hash, kind: "retry", at, attempt, event: "", match: {} }))
      yield* runStep(run, hash, attempt, at)
    })

  /** The wait's end by time; an event that came first has released it. */
  const timer = (run: LiveRun, hash: string, at: number): Effect.Effect<void> =>
    Effect.gen(function* () {
      yield* until(at)
      if (run.release(hash)) yield* finish(run, { hash, kind: "data", json: "null" })
    })

  const deliver = (run: LiveRun, hash: string, event: SentEvent): Effect.Effect<void> => (run.release(hash) ? finish(run, { hash, kind: "data", json: eventJson(event) }) : Effect.void)

  const resume = (run: LiveRun, wait: StoredWait, since: number) => {
    if (!run.claim(wait.hash, wait.kind === "retry" ? "step" : wait.kind)) return Effect.void
    if (wait.kind === "retry") return Effect.forkChild(runStep(run, wait.hash, wait.attempt, wait.at))
    const already = wait.kind === "event" ? bus.wait(wait.event, { run, hash: wait.hash, match: wait.match }, since) : undefined
    return already === undefined ? Effect.forkChild(timer(run, wait.hash, wait.at)) : deliver(run, wait.hash, already)
  }

  /** True when the function has ended. */
  const apply = (run: LiveRun, op: Op, attempt: number, since: number, asked: number | undefined) =>
    Effect.gen(function* () {
      switch (op._tag) {
        case "Completed":
          return true
        case "Finished":
          yield* finish(run, op.step)
          return false
        case "TryAgain":
          if (run.claim(op.hash, "step")) yield* Effect.forkChild(tryAgain(run, op.hash, attempt + 1, asked))
          return false
        case "Planned":
          if (run.claim(op.hash, "step")) yield* Effect.forkChild(runStep(run, op.hash, 0, 0))
          return false
        case "Sleep":
          if (!run.claim(op.hash, "sleep")) return false
          yield* persist(store.wait(run.id, { hash: op.hash, kind: "sleep", at: op.until, attempt: 0, event: "", match: {} }))
          yield* Effect.forkChild(timer(run, op.hash, op.until))
          return false
        case "Wait": {
          if (!run.claim(op.hash, "event")) return false
          const waiter: Waiter = { run, hash: op.hash, match: op.match }
          const already = bus.wait(op.event, waiter, since)
          if (already !== undefined) yield* deliver(run, op.hash, already)
          else {
            yield* persist(store.wait(run.id, { hash: op.hash, kind: "event", at: op.until, attempt: 0, event: op.event, match: op.match }))
            yield* Effect.forkChild(timer(run, op.hash, op.until))
          }
          return false
        }
      }
    })

  const enter = (run: LiveRun) =>
    Effect.gen(function* () {
      const entry = bus.enter()
      return yield* Effect.gen(function* () {
        const attempt = run.attempt
        const reply = yield* call(run, run.mode, attempt)
        if (run.refused) return undefined
        if (reply._tag === "Failed") {
          const tried = run.attempt + 1
          if (!reply.retry || tried >= options.attempts) return { status: "failed" as EndStatus, error: reply.message }
          run.attempt = tried
          const at = (yield* Clock.currentTimeMillis) + backOff(tried, reply.retryAfterMillis)
          yield* persist(store.failed(run.id, tried, at))
          yield* until(at)
          run.wake()
          return undefined
        }
        for (const op of reply.ops) if (yield* apply(run, op, attempt, entry.since, reply.retryAfterMillis)) return { status: "ended" as EndStatus, error: undefined }
        return undefined
      }).pipe(Effect.ensuring(Effect.sync(entry.leave)))
    })

  const settle = (runId: string) =>
    Effect.suspend(() => {
      const ending = endings.get(runId)
      endings.delete(runId)
      return ending === undefined ? Effect.void : Deferred.succeed(ending, undefined)
    })

  /** Until the workflow has ended, or is somebody else's. */
  const drive = (runId: string, fresh: boolean): Effect.Effect<void> =>
    Effect.gen(function* () {
      for (let entry = 0; ; entry++) {
        // what is sent while the waits are being read is for them
        const reading = bus.enter()
        const stored = fresh && entry === 0 ? nothingStored : yield* Effect.onError(persist(store.load(runId)), () => Effect.sync(reading.leave))
        if (stored === undefined) {
          reading.leave()
          break
        }
        const run = new LiveRun(runId, stored.attempt, stored.finished, yield* Queue.sliding<void>(1))
        live.set(runId, run)
        const over = yield* Effect.gen(function* () {
          yield* Effect.ensuring(Effect.forEach(stored.waits, (wait) => resume(run, wait, reading.since), { discard: true }), Effect.sync(reading.leave))
          yield* until(stored.retryAt)
          while (!run.refused) {
            const end = yield* enter(run)
            if (end !== undefined) {
              yield* persist(store.end(runId, end.status, end.error))
              return true
            }
            if (!run.refused) yield* Queue.take(run.wakeups)
          }
          return false
          // what is still under way belongs to this reading of the store
        }).pipe(Effect.ensuring(Effect.sync(() => (live.delete(runId), bus.forget(run)))), Effect.forkChild, Effect.flatMap((fiber) => Fiber.join(fiber)))
        if (over) break
      }
      yield* settle(runId)
    })

  const launch = (runId: string, fresh = false) => Effect.asVoid(FiberMap.run(fibers, runId, drive(runId, fresh), { onlyIfMissing: true, startImmediately: true }))

  yield* Effect.flatMap(store.adopt, Effect.forEach((runId) => launch(runId), { discard: true })).pipe(Effect.mapError(asDurableError("taking up unfinished workflows")))

  return Durable.of({
    executor: "embedded",
    start: (runId) => store.begin(runId).pipe(Effect.mapError(asDurableError(`starting ${runId}`)), Effect.flatMap((begun) => (begun === "over" ? Effect.void : launch(runId, begun === "new")))),
    send: (name, data) =>
      Effect.gen(function* () {
        const { event, woken } = bus.send(name, data, yield* Clock.currentTimeMillis)
        yield* Effect.forEach(woken, ({ hash, run }) => deliver(run, hash, event), { concurrency: "unbounded", discard: true })
      }),
    cancel: (runId) =>
      Effect.gen(function* () {
        yield* store.end(runId, "cancelled").pipe(Effect.mapError(asDurableError(`cancelling ${runId}`)))
        yield* FiberMap.remove(fibers, runId)
        yield* settle(runId)
      }),
    settled: (runId) =>
      Effect.gen(function* () {
        const ending = endings.get(runId) ?? (yield* Deferred.make<void>())
        endings.set(runId, ending)
        // the one who drives it will say so
        if (live.has(runId)) return yield* Deferred.await(ending)
        const over = yield* store.isOver(runId).pipe(Effect.mapError(asDurableError(`asking after ${runId}`)))
        if (over === false) return yield* Deferred.await(ending)
        if (over === undefined) return yield* new DurableError({ message: `no workflow ${runId} was ever started` })
        endings.delete(runId)
      })
  })
})
