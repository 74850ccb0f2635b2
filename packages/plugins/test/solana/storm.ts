/** Seeded weather: what goes wrong with each of the first requests, then the sky clears and everything must come to an end. */
import { fair, type Weather } from "./RpcServer.ts"

/** mulberry32: from 0 (included) to 1. */
export const randomOf = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

export const upTo = (random: () => number, most: number): number => Math.floor(random() * (most + 1))

export const stormOf = (random: () => number, requests: number): ((method: string) => Weather) => {
  let left = requests
  // some schedules see nodes with a short memory, some a chain that runs on while nothing is asked
  const history = random() < 0.3 ? 20 + upTo(random, 30) : 1_000_000
  const haste = random() < 0.5 ? 3 : 8
  return () => {
    if (left-- <= 0) return fair
    const dice = random()
    const refusal = dice < 0.05 ? "broken" as const : dice < 0.08 ? 429 : dice < 0.11 ? 500 : dice < 0.12 ? 503 : undefined
    const answer = dice > 0.93 ? "broken" as const : dice > 0.925 ? "hangs" as const : dice > 0.905 ? "garbage" as const : dice > 0.885 ? "unhealthy" as const : undefined
    const arrival = random()
    const delay = () => upTo(random, 34)
    return {
      tick: upTo(random, haste),
      lag: random() < 0.4 ? upTo(random, 40) : 0,
      history: random() < 0.5 ? history : 1_000_000,
      ...(refusal === undefined ? {} : { refusal }),
      ...(answer === undefined ? {} : { answer }),
      delivery: arrival < 0.35 ? [] : arrival < 0.55 ? [delay(), delay()] : arrival < 0.8 ? [delay()] : [1],
      fork: arrival < 0.15 ? 1 + upTo(random, 10) : 0
    }
  }
}
