/**
 * `Durable` on a real Inngest server (dev, self-hosted or cloud): the same function, entered by that server over HTTP. The API mounts
 * `InngestEndpoint.handle` at `path` and calls `register` once it listens; the server then keeps steps, waits and retries.
 *
 * `settled` answers for workflows that this process saw start or end; what ended before a restart is in the event log.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Inngest } from "inngest"
import { serve } from "inngest/edge"
import { Durable, DurableError, type WorkflowBody } from "../run/Durable.ts"
import { appId, cancelEvent, defaultAttempts, makeFunction, startEvent } from "./function.ts"

export interface InngestServer {
  /** of the server's API, such as `http://127.0.0.1:8288` */
  readonly baseUrl: string
  readonly eventKey: Redacted.Redacted
  /** even-length hex, with or without the `signkey-` prefix; requests that are not signed with it are refused */
  readonly signingKey: Redacted.Redacted
  /** where the server reaches us, without a path */
  readonly ownOrigin: string
}

export class InngestEndpoint extends Context.Service<
  InngestEndpoint,
  {
    readonly path: string
    readonly handle: (request: Request) => Promise<Response>
    /** Tells the server which function there is, and where. */
    readonly register: Effect.Effect<void, DurableError>
  }
>()("@hypernode/engine/durable/InngestEndpoint") {}

const path = "/api/inngest"

const attempt = <A>(what: string, run: () => Promise<A>) =>
  Effect.tryPromise({ try: run, catch: (cause) => new DurableError({ message: `${what}: ${cause instanceof Error ? cause.message : String(cause)}` }) })

export const inngestDurable = (body: WorkflowBody, server: InngestServer, attempts: number = defaultAttempts): Layer.Layer<Durable | InngestEndpoint> =>
  Layer.effectContext(
    Effect.sync(() => {
      const endings = new Map<string, Deferred.Deferred<void>>()
      const ending = (runId: string) => {
        const known = endings.get(runId) ?? Deferred.makeUnsafe<void>()
        endings.set(runId, known)
        return known
      }
      const settle = (runId: string) => Deferred.doneUnsafe(ending(runId), Effect.void)
      const client = new Inngest({ id: appId, isDev: false, baseUrl: server.baseUrl, eventKey: Redacted.value(server.eventKey), signingKey: Redacted.value(server.signingKey) })
      const settling: WorkflowBody = async (runId, steps) => {
        await body(runId, steps)
        settle(runId)
      }
      const handle = serve({ client, functions: [makeFunction(client, settling, attempts, settle)], serveOrigin: server.ownOrigin, servePath: path }) as (request: Request) => Promise<Response>
      const send = (name: string, data: Readonly<Record<string, string>>, id?: string) =>
        Effect.asVoid(attempt(`sending ${name} to ${server.baseUrl}`, () => client.send({ name, data, ...(id === undefined ? {} : { id }) })))

      return Context.make(Durable, {
        executor: server.baseUrl,
        // the event's id and the function's idempotency key make a second start nothing
        start: (runId) => send(startEvent, { runId }, `start-${runId}`),
        send,
        cancel: (runId) => Effect.map(send(cancelEvent, { runId }), () => settle(runId)),
        settled: (runId) => Deferred.await(ending(runId))
      }).pipe(
        Context.add(InngestEndpoint, {
          path,
          handle,
          register: attempt(`registering with ${server.baseUrl}`, async () => {
            const response = await handle(new Request(`${server.ownOrigin}${path}`, { method: "PUT", headers: { host: new URL(server.ownOrigin).host } }))
            if (!response.ok) throw new Error(`the server answered ${response.status}: ${(await response.text()).slice(0, 300)}`)
          })
        })
      )
    })
  )
