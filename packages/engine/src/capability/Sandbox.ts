/** Wraps a command so that it runs confined. The strongest available wins under `auto`; `required` refuses `none`. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export const SandboxMode = Schema.Literals(["required", "auto", "none"])
export type SandboxMode = typeof SandboxMode.Type
export const SandboxKind = Schema.Literals(["container", "bubblewrap", "none"])
export type SandboxKind = typeof SandboxKind.Type

export interface Confinement {
  readonly command: readonly [string, ...Array<string>]
  readonly readOnly: ReadonlyArray<string>
  readonly writable: ReadonlyArray<string>
  /** unix sockets to reach from inside */
  readonly sockets: ReadonlyArray<string>
  readonly cwd: string
  /** bytes that all its processes may use together; default: most of the machine's. A container holds to it; bubblewrap has no such limit. */
  readonly memory?: number
  /** on a container: what it belongs to */
  readonly labels?: Readonly<Record<string, string>>
}

export class SandboxRefused extends Schema.TaggedError<SandboxRefused>()("SandboxRefused", { message: Schema.String, remedy: Schema.String }) {}

export class Sandbox extends Context.Service<
  Sandbox,
  {
    /** What would be used, decided by trying it once (cached), not by looking for a binary. */
    readonly choose: (mode: SandboxMode) => Effect.Effect<SandboxKind, SandboxRefused>
    readonly wrap: (kind: SandboxKind, confinement: Confinement) => Effect.Effect<readonly [string, ...Array<string>], SandboxRefused>
  }
>()("@hypernode/engine/capability/Sandbox") {}
