/**
 * Group commit: while one write is on its way to the disk, finished steps of all runs gather, and go together in the next. A lone run
 * waits for nobody; sixty-four share one flush.
 */
import type { StepWrite } from "./ExecutorStore.ts"

interface Waiting extends StepWrite {
  readonly resolve: (taken: boolean) => void
  readonly reject: (cause: unknown) => void
}

const largestBatch = 256

export class StepWriter {
  #waiting: Array<Waiting> = []
  #writing = 0
  readonly #flush: (writes: ReadonlyArray<StepWrite>) => Promise<ReadonlyArray<boolean>>
  readonly #atOnce: number

  /** `atOnce`: how many writes may be on their way together. */
  constructor(flush: (writes: ReadonlyArray<StepWrite>) => Promise<ReadonlyArray<boolean>>, atOnce = 2) {
    this.#flush = flush
    this.#atOnce = atOnce
  }

  /** Resolves once the step is on disk; false where the store refused it. Rejects where the database does not answer. */
  write(write: StepWrite): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...write, resolve, reject })
      this.#next()
    })
  }

  #next(): void {
    if (this.#writing >= this.#atOnce || this.#waiting.length === 0) return
    const batch = this.#waiting.splice(0, largestBatch)
    this.#writing++
    this.#flush(batch)
      .then(
        (taken) => batch.forEach((write, place) => write.resolve(taken[place] === true)),
        (cause: unknown) => batch.forEach((write) => write.reject(cause))
      )
      .finally(() => {
        this.#writing--
        this.#next()
      })
  }
}
