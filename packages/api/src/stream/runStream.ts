/**
 * Everything that happens to one run, on one connection:
 *   `run`    a StoredEvent
 *   `sample` an array of sample rows, in order of id
 *   `log`    { text, stepId, attempt }: a piece of the newest job's output
 *   `ping`   { at }, every 15 seconds
 *   `end`    {}: the run has ended and all of the above was sent; the client closes
 *   `problem` an error body; the stream closes
 * Every frame but ping carries the cursor as its id.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Engine, EngineError } from "../Engine.ts"
import { formatCursor, frame, type StreamCursor } from "./sse.ts"

export interface RunStreamOptions {
  readonly tenant: string
  readonly runId: string
  readonly cursor: StreamCursor
  readonly include: { readonly samples: boolean; readonly logs: boolean }
  readonly pingMillis: number
  readonly logMillis: number
}

const PAGE = 1_000

export const runStream = (engine: Engine["Service"], options: RunStreamOptions): Stream.Stream<string, EngineError> =>
  Stream.callback<string, EngineError>(
    Effect.fnUntraced(function*(queue) {
      const { include, runId, tenant } = options
      const cursor = { ...options.cursor }
      const send = (event: string, data: unknown) => Queue.offer(queue, frame(event, formatCursor(cursor), data))

      /** One reading of the job's output; true while there is more to read at once. */
      const readLog = Effect.gen(function*() {
        const [job, attempt] = cursor.job.split("~")
        let chunk = yield* engine.logs(tenant, runId, undefined, cursor.offset)
        if (chunk.stepId === undefined) return false
        // Another step or attempt writes now: its output starts at its beginning.
        if (cursor.offset > 0 && (chunk.stepId !== job || String(chunk.attempt ?? 1) !== attempt)) chunk = yield* engine.logs(tenant, runId, undefined, 0)
        cursor.job = `${chunk.stepId}~${chunk.attempt ?? 1}`
        cursor.offset = chunk.nextOffset
        if (chunk.text === "") return false
        yield* send("log", { text: chunk.text, stepId: chunk.stepId, attempt: chunk.attempt ?? 1 })
        return true
      })

      const sendSamples = (rows: ReadonlyArray<{ readonly id: number }>) => {
        const fresh = rows.filter((row) => row.id > cursor.sample)
        if (fresh.length === 0) return Effect.void
        cursor.sample = fresh[fresh.length - 1]!.id
        return send("sample", fresh)
      }

      const fail = (effect: Effect.Effect<unknown, EngineError>) => Effect.catch(effect, (error) => Queue.fail(queue, error))

      yield* Effect.forkScoped(
        Effect.forever(Effect.andThen(Effect.sleep(options.pingMillis), Effect.flatMap(Clock.currentTimeMillis, (at) => Queue.offer(queue, frame("ping", undefined, { at })))))
      )
      const samples = include.samples
        ? yield* Effect.forkScoped(
            fail(engine.followSamples(tenant, runId, cursor.sample).pipe(Stream.groupedWithin(PAGE, 100), Stream.runForEach(sendSamples)))
          )
        : undefined
      const logs = include.logs
        ? yield* Effect.forkScoped(
            fail(Effect.forever(Effect.flatMap(readLog, (more) => (more ? Effect.void : Effect.sleep(options.logMillis)))))
          )
        : undefined

      yield* fail(
        Effect.gen(function*() {
          yield* Stream.runForEach(engine.follow(tenant, runId, cursor.seq), (event) => {
            cursor.seq = event.seq
            return send("run", event)
          })
          // The run has ended. What the jobs left behind is read to its end, then the client may go.
          if (samples !== undefined) {
            yield* Fiber.interrupt(samples)
            while (true) {
              const rows = yield* engine.samples(tenant, runId, cursor.sample, PAGE)
              yield* sendSamples(rows)
              if (rows.length < PAGE) break
            }
          }
          if (logs !== undefined) {
            yield* Fiber.interrupt(logs)
            while (yield* readLog) { /* until nothing more is there */ }
          }
          yield* send("end", {})
          yield* Queue.end(queue)
        })
      )
    }),
    { bufferSize: 64, strategy: "suspend" }
  )
