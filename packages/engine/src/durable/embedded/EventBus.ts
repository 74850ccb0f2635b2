/**
 * Who waits for which event. A function that is being entered may be about to ask for an event that is sent right now, so events are
 * kept for as long as an entry that began before them goes on.
 */
import { type Match, matches } from "../match.ts"
import type { LiveRun } from "./LiveRun.ts"

export interface SentEvent {
  readonly name: string
  readonly data: Readonly<Record<string, string>>
  readonly number: number
  readonly at: number
}

export interface Waiter {
  readonly run: LiveRun
  readonly hash: string
  readonly match: Match
}

export class EventBus {
  #sent = 0
  #recent: Array<SentEvent> = []
  readonly #entries = new Set<{ readonly since: number }>()
  readonly #waiters = new Map<string, Set<Waiter>>()

  /** An entry into the function begins; the answer ends it. */
  enter(): { readonly since: number; readonly leave: () => void } {
    const entry = { since: this.#sent }
    this.#entries.add(entry)
    return {
      since: entry.since,
      leave: () => {
        this.#entries.delete(entry)
        const oldest = Math.min(...[...this.#entries].map((other) => other.since))
        this.#recent = this.#recent.filter((event) => event.number > oldest)
      }
    }
  }

  /** The first matching event since an entry began, else a registered waiter. */
  wait(name: string, waiter: Waiter, since: number): SentEvent | undefined {
    const found = this.#recent.find((event) => event.number > since && event.name === name && matches(waiter.match, event.data))
    if (found === undefined) this.#waiters.set(name, (this.#waiters.get(name) ?? new Set()).add(waiter))
    return found
  }

  /** Everybody whom this event wakes, each once. */
  send(name: string, data: Readonly<Record<string, string>>, at: number): { readonly event: SentEvent; readonly woken: ReadonlyArray<Waiter> } {
    const event: SentEvent = { name, data, number: ++this.#sent, at }
    if (this.#entries.size > 0) this.#recent.push(event)
    const waiting = this.#waiters.get(name)
    const woken = [...(waiting ?? [])].filter((waiter) => matches(waiter.match, data))
    for (const waiter of woken) waiting?.delete(waiter)
    if (waiting?.size === 0) this.#waiters.delete(name)
    return { event, woken }
  }

  forget(run: LiveRun): void {
    for (const [name, waiting] of this.#waiters) {
      for (const waiter of waiting) if (waiter.run === run) waiting.delete(waiter)
      if (waiting.size === 0) this.#waiters.delete(name)
    }
  }
}

/** What `step.waitForEvent` gives back. */
export const eventJson = ({ at, data, name, number }: SentEvent): string => JSON.stringify({ name, data, id: `${at}-${number}`, ts: at })
