/** What the executor knows of a workflow that it drives: what has finished, and what is under way. */
import * as Queue from "effect/Queue"
import type { FinishedStep, Mode } from "./Protocol.ts"

export type PendingKind = "step" | "sleep" | "event"

export class LiveRun {
  readonly id: string
  /** failures of the function outside its steps, since the last step that finished */
  attempt: number
  readonly finished: Array<FinishedStep>
  readonly #hashes: Set<string>
  readonly #pending = new Map<string, PendingKind>()
  /** a write was refused: over, or no longer ours, or the step has another result */
  refused = false
  readonly #wakeups: Queue.Queue<void>

  constructor(id: string, attempt: number, finished: ReadonlyArray<FinishedStep>, wakeups: Queue.Queue<void>) {
    this.id = id
    this.attempt = attempt
    this.finished = [...finished]
    this.#hashes = new Set(finished.map((step) => step.hash))
    this.#wakeups = wakeups
  }

  get wakeups(): Queue.Dequeue<void> {
    return this.#wakeups
  }

  wake(): void {
    Queue.offerUnsafe(this.#wakeups, undefined)
  }

  add(step: FinishedStep): void {
    this.#pending.delete(step.hash)
    if (this.#hashes.has(step.hash)) return
    this.#hashes.add(step.hash)
    this.finished.push(step)
    this.attempt = 0
  }

  has(hash: string): boolean {
    return this.#hashes.has(hash)
  }

  /** False where it is under way already, or has finished: the function reports what it waits for each time it is entered. */
  claim(hash: string, kind: PendingKind): boolean {
    if (this.#pending.has(hash) || this.#hashes.has(hash)) return false
    this.#pending.set(hash, kind)
    return true
  }

  /** True for the one who may say how a wait ended: the event, or its time-out. */
  release(hash: string): boolean {
    return this.#pending.delete(hash)
  }

  /** While a step is under way by itself, an entry may only look for others: on its own the function would run that step a second time. */
  get mode(): Mode {
    for (const kind of this.#pending.values()) if (kind === "step") return { _tag: "Discover" }
    return { _tag: "Checkpoint" }
  }
}
