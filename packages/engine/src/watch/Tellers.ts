/** Who follows a watch right now: a `hyper watch` that holds the line. Nobody, where its terminal is gone; what happened is in SQL anyhow. */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import type { WatchEvent } from "./WatchEvent.ts"

export class Tellers extends Context.Service<
  Tellers,
  {
    readonly tell: (watch: string, event: WatchEvent) => void
    /** False where somebody follows it already. */
    readonly add: (watch: string, tell: (event: WatchEvent) => void) => boolean
    readonly remove: (watch: string) => void
  }
>()("@hypernode/engine/watch/Tellers") {
  static readonly layer: Layer.Layer<Tellers> = Layer.sync(Tellers, () => {
    const followers = new Map<string, (event: WatchEvent) => void>()
    return Tellers.of({
      tell: (watch, event) => followers.get(watch)?.(event),
      add: (watch, tell) => {
        if (followers.has(watch)) return false
        followers.set(watch, tell)
        return true
      },
      remove: (watch) => void followers.delete(watch)
    })
  })
}
