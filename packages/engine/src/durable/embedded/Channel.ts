/**
 * The SDK, in this process: calls go to its handler, and what it posts while it runs comes back through the client's `fetch`.
 * Nothing listens on any socket, and no `INNGEST_*` variable of the user's environment changes where the steps go.
 */
import { Inngest, InngestCommHandler } from "inngest"
import type { WorkflowBody } from "../../run/Durable.ts"
import { appId, makeFunction } from "../function.ts"
import { type Call, decodeCheckpoint, decodeReply, encodeCall, type FinishedStep, origin, type Reply } from "./Protocol.ts"

export type Stored = "stored" | "refused" | "unavailable"

export interface Channel {
  readonly call: (call: Call) => Promise<Reply>
}

const answer = (status: number): Response => new Response("{}", { status, headers: { "content-type": "application/json" } })
/** The SDK looks at the status of these and never reads their body, so that one of each will do for all steps. */
const stored = answer(200)
const refused = answer(409)

/** `checkpoint` gets each step that finished inside a call before the next one begins. */
export const makeChannel = (body: WorkflowBody, attempts: number, checkpoint: (runId: string, steps: ReadonlyArray<FinishedStep>) => Promise<Stored>): Channel => {
  const fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const url = input instanceof Request ? input.url : String(input)
    const posted = decodeCheckpoint(url, typeof init?.body === "string" ? init.body : "", Date.now())
    if (posted === undefined) return answer(404)
    const steps = posted.ops.flatMap((op) => (op._tag === "Finished" ? [op.step] : []))
    const outcome = await checkpoint(posted.runId, steps)
    // 409 ends the call after this step; 5xx is tried again, and then the call itself answers with the step
    return outcome === "stored" ? stored : outcome === "refused" ? refused : answer(503)
  }
  // a logger without `flush` is given a timer's tick to write in, at the end of every call
  const quiet = { info: ignore, warn: ignore, error: ignore, debug: ignore, flush: ignore }
  const client = new Inngest({ id: appId, isDev: true, baseUrl: origin, eventKey: "none", fetch, logger: quiet })
  // these getters go through the whole environment of the process, for each step: a third of what a step costs here
  Object.defineProperties(client, { env: { value: null }, headers: { value: client["headers"] } })
  // texts in and out: the web's Request and Response would stream them
  const handler = new InngestCommHandler({
    frameworkName: "hypernode",
    client,
    functions: [makeFunction(client, body, attempts)],
    serveOrigin: origin,
    servePath: "/api/inngest",
    handler: ({ body, url }: { readonly body: string; readonly url: string }) => ({
      body: () => body,
      headers: (name) => (name.toLowerCase() === "host" ? "hyper.invalid" : null),
      method: () => "POST",
      url: () => new URL(url),
      transformResponse: (response) => response
    })
  }).createHandler()
  return {
    call: async (call) => {
      const { body, headers, status } = await handler(encodeCall(call))
      const own = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
      return decodeReply({ status, header: (name) => own.get(name.toLowerCase()) ?? null, body }, Date.now())
    }
  }
}

/** A step's failure is in the event log, with its remedy; the SDK's own lines would say it again with a stack. */
const ignore = (): void => undefined
