/** Requests a minute and tokens a day per key. Tokens are known when a request ends, so one in flight may overshoot. */
import type { GatewayKey } from "@hypernode/engine/endpoints/GatewaySnapshot"
import { type OpenAiError, overQuota } from "./OpenAiError.ts"

const DAY = 86_400_000

export class Quota {
  readonly #minutes = new Map<string, { started: number; count: number }>()
  /** tokens of the current UTC day by `tenant/hint` (which is all that the usage log holds of a key) */
  readonly #days = new Map<string, number>()
  #day: number
  readonly #now: () => number

  constructor(now: () => number = Date.now) {
    this.#now = now
    this.#day = Math.floor(now() / DAY)
  }

  /** Counts the request and returns undefined, or says why not and when again. */
  admit(key: GatewayKey): OpenAiError | undefined {
    const now = this.#now()
    if (key.tokensPerDay !== null && this.tokens(key.tenant, key.hint) >= key.tokensPerDay) {
      return overQuota(`${key.tokensPerDay} tokens a day`, ((this.#day + 1) * DAY - now) / 1000)
    }
    if (key.requestsPerMinute === null) return undefined
    const window = this.#minutes.get(key.hash)
    if (window === undefined || now - window.started >= 60_000) {
      this.#minutes.set(key.hash, { started: now, count: 1 })
      return undefined
    }
    if (window.count >= key.requestsPerMinute) return overQuota(`${key.requestsPerMinute} requests a minute`, (window.started + 60_000 - now) / 1000)
    window.count += 1
    return undefined
  }

  spend(tenant: string, hint: string, tokens: number, at: number): void {
    this.#turn()
    if (Math.floor(at / DAY) === this.#day) this.#days.set(`${tenant}/${hint}`, this.tokens(tenant, hint) + tokens)
  }

  tokens(tenant: string, hint: string): number {
    this.#turn()
    return this.#days.get(`${tenant}/${hint}`) ?? 0
  }

  /** What a fresh usage file starts with, so that old files can go. */
  today(): ReadonlyArray<readonly [string, number]> {
    this.#turn()
    return [...this.#days]
  }

  restore(day: number, entries: ReadonlyArray<readonly [string, number]>): void {
    this.#turn()
    if (day === this.#day) for (const [name, tokens] of entries) this.#days.set(name, tokens)
  }

  get day(): number {
    this.#turn()
    return this.#day
  }

  #turn(): void {
    const day = Math.floor(this.#now() / DAY)
    if (day === this.#day) return
    this.#day = day
    this.#days.clear()
  }
}
