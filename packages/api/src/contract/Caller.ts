/** Who asks. Established before a handler runs: by a session, an API key, or by holding the home's Unix socket. */
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"

/** `read`: look. `write`: start, cancel, resume, chat. `admin`: keys, login links, stop endpoints. */
export const Scope = Schema.Literals(["read", "write", "admin"])
export type Scope = typeof Scope.Type

export interface CallerInfo {
  readonly tenant: string
  /** in words, for event logs */
  readonly by: string
  readonly scopes: ReadonlyArray<Scope>
  /** Holds the home's socket, and so may name paths of this machine and submit plans. */
  readonly owner: boolean
  readonly requestId: string
}

/** Set for each request; where nobody set it, nobody asks and nothing is allowed. */
export const Caller = Context.Reference<CallerInfo>("@hypernode/api/contract/Caller", {
  defaultValue: () => ({ tenant: "", by: "nobody", scopes: [], owner: false, requestId: "none" })
})
