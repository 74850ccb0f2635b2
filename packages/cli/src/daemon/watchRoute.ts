/** `hyper watch` holds this line: one JSON object a line until the watch ends, or until the line is broken, which ends the watch and none of its runs. */
import { Watcher } from "@hypernode/engine/watch/Watcher"
import type { WatchEvent } from "@hypernode/engine/watch/WatchEvent"
import { WatchSpec } from "@hypernode/engine/watch/WatchSpec"
import { Context, Effect, Fiber, Schema } from "effect"
import { Hono } from "hono"
import { TENANT } from "../tenant.ts"
import type { Activity } from "./Activity.ts"

const HEARTBEAT_MILLIS = 1_000

export const watchRoute = (context: Context.Context<Watcher>, activity: Activity): Hono => {
  const app = new Hono()
  app.post("/api/v1/daemon/watch", async (c) => {
    const spec = Schema.decodeUnknownResult(WatchSpec)(await c.req.json(), { errors: "all", onExcessProperty: "error" })
    if (spec._tag === "Failure") return c.json({ error: { code: "watch_spec", message: `what to watch is not understood: ${spec.failure.message}`, remedy: "is this hyper of the same version as its daemon? hyper stop, then again", requestId: "" } }, 422)
    activity.holds++
    let close = (): void => undefined
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const encoder = new TextEncoder()
        const write = (line: string): void => {
          try {
            controller.enqueue(encoder.encode(`${line}\n`))
          } catch {
            close()
          }
        }
        const tell = (event: WatchEvent): void => write(JSON.stringify(event))
        const timer = setInterval(() => write(""), HEARTBEAT_MILLIS)
        const fiber = Effect.runForkWith(context)(Effect.flatMap(Watcher, (watcher) => watcher.watch(TENANT, spec.success, tell)))
        let closed = false
        close = () => {
          if (closed) return
          closed = true
          clearInterval(timer)
          activity.holds--
          activity.touch()
          Effect.runFork(Fiber.interrupt(fiber))
        }
        fiber.addObserver((exit) => {
          if (exit._tag === "Failure" && !closed) tell({ type: "end", code: 1, message: "the watch broke off", remedy: "daemon.log in the home says why; watch again" })
          close()
          try {
            controller.close()
          } catch {
            // the reader was faster
          }
        })
      },
      cancel: () => close()
    })
    c.req.raw.signal.addEventListener("abort", () => close())
    return new Response(body, { headers: { "content-type": "application/x-ndjson" } })
  })
  return app
}
