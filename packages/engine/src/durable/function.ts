/**
 * The one Inngest function: it runs every plan, on a real Inngest server as on the embedded executor. It adds nothing to the workflow
 * body but the translation of steps, and what a step body throws, into the SDK's words.
 */
import { type Inngest, NonRetriableError, RetryAfterError } from "inngest"
import { type DurableSteps, StepFailure, type WorkflowBody } from "../run/Durable.ts"
import { matchExpression } from "./match.ts"

export const appId = "hypernode"
const name = "run"
/** As the SDK composes it. */
export const functionId = `${appId}-${name}`

export const startEvent = "hyper/run.requested"
export const cancelEvent = "hyper/run.cancelled"

/** Tries of a step, and of the function outside its steps. */
export const defaultAttempts = 4

/** The SDK accepts these numbers of retries. */
type Retries = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10

/** `failed` is told of a workflow that a real server has given up; the embedded executor knows by itself. */
export const makeFunction = (client: Inngest.Any, body: WorkflowBody, attempts: number = defaultAttempts, failed?: (runId: string) => void) =>
  client.createFunction(
    {
      id: name,
      triggers: [{ event: startEvent }],
      retries: Math.min(10, Math.max(0, attempts - 1)) as Retries,
      ...(failed === undefined ? {} : { onFailure: ({ event }: { readonly event: { readonly data: { readonly event: { readonly data?: unknown } } } }) => failed(runIdIn(event.data.event.data)) }),
      idempotency: "event.data.runId",
      cancelOn: [{ event: cancelEvent, if: "event.data.runId == async.data.runId" }],
      // each finished step is on disk before the next begins
      checkpointing: { bufferedSteps: 1, maxRuntime: 0 }
    },
    async ({ attempt, event, step }) => {
      const steps: DurableSteps = {
        run: async <A>(id: string, work: (attempt: number) => Promise<A>): Promise<A> => (await step.run(id, () => work(attempt + 1).catch(asSdkError))) as A,
        // a date, because the SDK cuts a duration down to whole seconds
        sleep: (id, milliseconds) => step.sleepUntil(id, new Date(Date.now() + milliseconds)),
        waitForEvent: async (id, { event: waited, match, timeoutMillis }) => {
          const expression = matchExpression(match)
          const found: unknown = await step.waitForEvent(id, { event: waited, timeout: new Date(Date.now() + timeoutMillis), ...(expression === undefined ? {} : { if: expression }) } as never)
          return found === null || found === undefined ? null : ((found as { readonly data?: unknown }).data ?? null)
        }
      }
      await body(runIdIn(event.data), steps)
    }
  )

const runIdIn = (data: unknown): string => String((data as { readonly runId?: unknown }).runId)

const asSdkError = (cause: unknown): never => {
  if (!(cause instanceof StepFailure)) throw cause
  if (!cause.retry) throw new NonRetriableError(cause.message)
  if (cause.retryAfter !== undefined) throw new RetryAfterError(cause.message, cause.retryAfter * 1000)
  throw cause
}
