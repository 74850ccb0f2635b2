/** Counts wrong attempts in a fixed window per key. Guesses at 256 bits are hopeless; this keeps them from costing anything. */
export interface RateLimit {
  /** seconds to wait where there were too many wrong attempts, else 0 */
  readonly wait: (key: string) => number
  readonly wrong: (key: string) => void
}

export const makeRateLimit = (options: { readonly attempts: number; readonly windowMillis: number; readonly now?: () => number }): RateLimit => {
  const now = options.now ?? Date.now
  const windows = new Map<string, { readonly start: number; count: number }>()
  const current = (key: string) => {
    const window = windows.get(key)
    return window === undefined || now() - window.start >= options.windowMillis ? undefined : window
  }
  return {
    wait: (key) => {
      const window = current(key)
      return window === undefined || window.count < options.attempts ? 0 : Math.ceil((window.start + options.windowMillis - now()) / 1000)
    },
    wrong: (key) => {
      const window = current(key)
      if (window === undefined) windows.set(key, { start: now(), count: 1 })
      else window.count += 1
    }
  }
}
