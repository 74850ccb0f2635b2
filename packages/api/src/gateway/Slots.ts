/** Bounded concurrency with a bounded queue, first come first served. */
export class Slots {
  #free: number
  readonly #queue: number
  readonly #waiting: Array<() => void> = []

  constructor(concurrency: number, queue: number) {
    this.#free = concurrency
    this.#queue = queue
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** `full` at once when the queue is full; `gone` when `signal` ends the wait; else the slot is the caller's until `release`. */
  async acquire(signal: AbortSignal): Promise<"held" | "full" | "gone"> {
    if (signal.aborted) return "gone"
    if (this.#free > 0) {
      this.#free -= 1
      return "held"
    }
    if (this.#waiting.length >= this.#queue) return "full"
    return new Promise((resolve) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1)
        resolve("gone")
      }
      const enter = (): void => {
        signal.removeEventListener("abort", leave)
        resolve("held")
      }
      signal.addEventListener("abort", leave, { once: true })
      this.#waiting.push(enter)
    })
  }

  release(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free += 1
    else next()
  }
}
