/**
 * The SDK, in this process: calls go to its fetch handler, and what it posts while it runs comes back through the client's `fetch`.
 * Nothing listens on any socket, and no `INNGEST_*` variable of the user's environment changes where the steps go.
 */
import { Inngest } from "inngest"
import { serve } from "inngest/edge"
import type { WorkflowBody } from "../../run/Durable.ts"
import { appId, makeFunction } from "../function.ts"
import { type Call, decodeCheckpoint, decodeReply, encodeCall, type FinishedStep, origin, type Reply } from "./Protocol.ts"

export type Stored = "stored" | "refused" | "unavailable"

export interface Channel {
  readonly call: (call: Call) => Promise<Reply>
}

const answer = (status: number): Response => new Response("{}", { status, headers: { "content-type": "application/json" } })

/** `checkpoint` gets each step that finished inside a call before the next one begins. */
export const makeChannel = (body: WorkflowBody, attempts: number, checkpoint: (runId: string, steps: ReadonlyArray<FinishedStep>) => Promise<Stored>): Channel => {
  const fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const url = input instanceof Request ? input.url : String(input)
    const posted = decodeCheckpoint(url, typeof init?.body === "string" ? init.body : "", Date.now())
    if (posted === undefined) return answer(404)
    const steps = posted.ops.flatMap((op) => (op._tag === "Finished" ? [op.step] : []))
    const stored = await checkpoint(posted.runId, steps)
    // 409 ends the call after this step; 5xx is tried again, and then the call itself answers with the step
    return answer(stored === "stored" ? 200 : stored === "refused" ? 409 : 503)
  }
  const quiet = { info: ignore, warn: ignore, error: ignore, debug: ignore }
  const client = new Inngest({ id: appId, isDev: true, baseUrl: origin, eventKey: "none", fetch, logger: quiet })
  // these getters go through the whole environment of the process, for each step: a third of what a step costs here
  Object.defineProperties(client, { env: { value: null }, headers: { value: client["headers"] } })
  const handler = serve({ client, functions: [makeFunction(client, body, attempts)], serveOrigin: origin, servePath: "/api/inngest" })
  return {
    call: async (call) => {
      const { body, url } = encodeCall(call)
      const response = await (handler as (request: Request) => Promise<Response>)(new Request(url, { method: "POST", headers: { host: "hyper.invalid", "content-type": "application/json" }, body }))
      return decodeReply({ status: response.status, header: (name) => response.headers.get(name), body: await response.text() }, Date.now())
    }
  }
}

/** A step's failure is in the event log, with its remedy; the SDK's own lines would say it again with a stack. */
const ignore = (): void => undefined
