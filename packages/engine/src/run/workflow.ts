/**
 * The one workflow that runs every plan. Re-entered by the durable layer, so it is deterministic: all it knows comes from step results.
 * A step that fails does not throw here; its dependants are left out, branches that do not need it go on, then the run winds down.
 */
import { Context, Effect, Exit } from "effect"
import { Jobs } from "../capability/Jobs.ts"
import type { PlanStep } from "../plan/Plan.ts"
import { CancelSignal } from "./CancelSignal.ts"
import type { DurableSteps, WorkflowBody } from "./Durable.ts"
import { JOB_ENDED, JobWatcher } from "./JobWatcher.ts"
import { RunStore } from "./RunStore.ts"
import { begin, type Begun, closeRewards, collect, loadRun, openRewards, type StepServices } from "./StepExecutor.ts"

/** A workflow instance is one generation of a run. */
export const workflowId = (runId: string, generation: number): string => (generation === 1 ? runId : `${runId}.${generation}`)
export const runIdOf = (workflow: string): string => workflow.split(".")[0] as string

/** Slow fallback when a `job.ended` event is lost: milliseconds before each look. */
const LOOKS = [5_000, 15_000, 60_000]
const LAST_LOOK = 600_000

export type WorkflowServices = StepServices | JobWatcher | Jobs

/** Fibers of step bodies that run in this process, so that a cancelled run stops at once. */
export class Running {
  readonly #controllers = new Map<string, Set<AbortController>>()
  track(runId: string): { readonly signal: AbortSignal; readonly release: () => void } {
    const controller = new AbortController()
    const set = this.#controllers.get(runId) ?? new Set()
    this.#controllers.set(runId, set.add(controller))
    return {
      signal: controller.signal,
      release: () => {
        set.delete(controller)
        if (set.size === 0) this.#controllers.delete(runId)
      }
    }
  }
  stop(runId: string): void {
    for (const controller of this.#controllers.get(runId) ?? []) controller.abort()
  }
}

export const makeWorkflow = (context: Context.Context<WorkflowServices>, running: Running, executor: string): WorkflowBody => {
  const promise = <A, E>(runId: string, effect: Effect.Effect<A, E, WorkflowServices>): Promise<A> => {
    const { release, signal } = running.track(runId)
    return Effect.runPromiseExitWith(context)(Effect.provideService(effect, CancelSignal, signal)).then((exit) => {
      release()
      if (Exit.isSuccess(exit)) return exit.value
      const failure = exit.cause.reasons.find((reason) => reason._tag === "Fail")
      throw failure === undefined ? new Error("the step was interrupted") : failure.error
    })
  }

  return async (workflow, steps) => {
    const runId = runIdOf(workflow)
    const plan = await steps.run("start", () =>
      promise(
        runId,
        Effect.gen(function*() {
          const run = yield* loadRun(runId)
          yield* (yield* RunStore).append(runId, { _tag: "RunStarted", executor }, { once: `started:${run.generation}` })
          return run.plan.steps.map(({ id, inputs, kind }) => ({ id, kind, needs: [...new Set(Object.values(inputs).map((wire) => wire.step))] }))
        })
      ))
    const rewards = plan.filter((step) => step.kind === "reward")
    let open = true
    for (const step of rewards) {
      const opened = await steps.run(`${step.id}/open`, (tried) => promise(runId, openRewards({ runId, stepId: step.id, round: 1, tried })))
      open &&= opened.state === "done"
    }

    const ends = new Map<string, Promise<boolean>>()
    for (const step of plan) {
      ends.set(
        step.id,
        (async () => {
          const needs = await Promise.all(step.needs.map((id) => ends.get(id) ?? Promise.resolve(false)))
          return open && needs.every(Boolean) && (await runStep(steps, runId, step.id))
        })()
      )
    }
    const all = await Promise.all(ends.values())

    for (const [index, step] of plan.entries()) {
      if (step.kind !== "reward" || all[index] === true) continue
      await steps.run(`${step.id}/close`, (tried) => promise(runId, closeRewards({ runId, stepId: step.id, round: 1, tried })))
    }
    await steps.run("end", () =>
      promise(
        runId,
        Effect.gen(function*() {
          const run = yield* loadRun(runId)
          const outcome = all.every(Boolean) ? "succeeded" : run.state === "cancelling" ? "cancelled" : "failed"
          yield* (yield* RunStore).append(runId, { _tag: "RunEnded", outcome }, { once: `run-ended:${run.generation}` })
          return outcome
        })
      ))
  }

  async function runStep(steps: DurableSteps, runId: string, stepId: PlanStep["id"]): Promise<boolean> {
    for (let round = 1; ; round++) {
      const name = round === 1 ? stepId : `${stepId}#${round}`
      let at: Begun = await steps.run(name, (tried) => promise(runId, begin({ runId, stepId, round, tried })))
      if (at.state === "job") at = await runJob(steps, runId, stepId, name, round, at)
      if (at.state !== "again") return at.state === "done"
      await steps.sleep(`${name}/back-off`, 1_000 * 2 ** round)
    }
  }

  async function runJob(steps: DurableSteps, runId: string, stepId: string, name: string, round: number, job: Extract<Begun, { state: "job" }>): Promise<Begun> {
    const { attempt, handle } = job
    for (let look = 0; ; look++) {
      const over = await steps.run(`${name}/look.${look}`, () =>
        promise(
          runId,
          Effect.gen(function*() {
            yield* (yield* JobWatcher).watch({ runId, stepId, handle })
            const state = yield* (yield* Jobs).state(handle)
            return state._tag === "Ended" || state._tag === "Lost"
          })
        ))
      if (over) break
      await steps.waitForEvent(`${name}/wait.${look}`, { event: JOB_ENDED, match: { job: handle.id }, timeoutMillis: LOOKS[look] ?? LAST_LOOK })
    }
    return steps.run(`${name}/collect`, (tried) => promise(runId, collect({ runId, stepId, round, tried }, attempt, handle)))
  }
}
