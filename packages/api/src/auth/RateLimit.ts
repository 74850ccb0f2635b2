/** A fixed window per key. Guesses at login links and keys are hopeless at 256 bits; this keeps them from costing anything. */
export interface RateLimit {
  /** Counts one attempt; the seconds to wait where there were too many, else 0. */
  readonly attempt: (key: string) => number
}

export const makeRateLimit = (options: { readonly attempts: number; readonly windowMillis: number; readonly now?: () => number }): RateLimit => {
  const now = options.now ?? Date.now
  const windows = new Map<string, { start: number; count: number }>()
  return {
    attempt: (key) => {
      const at = now()
      // Bounded memory: a flood of keys forgets the oldest windows first.
      if (windows.size > 1_000) for (const [old, window] of windows) if (at - window.start >= options.windowMillis) windows.delete(old)
      if (windows.size > 10_000) windows.delete(windows.keys().next().value as string)
      const window = windows.get(key)
      if (window === undefined || at - window.start >= options.windowMillis) {
        windows.set(key, { start: at, count: 1 })
        return 0
      }
      window.count += 1
      return window.count > options.attempts ? Math.ceil((window.start + options.windowMillis - at) / 1000) : 0
    }
  }
}
