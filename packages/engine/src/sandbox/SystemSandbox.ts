/** The Sandbox capability of this machine: a container, bubblewrap, or none. */
import { chmodSync, lchownSync, lstatSync, readdirSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { CurrentHome } from "../capability/CurrentHome.ts"
import { type Confinement, Sandbox, SandboxRefused } from "../capability/Sandbox.ts"
import { availableSandbox, REMEDY } from "./available.ts"
import { availableBubblewrap } from "./availableBubblewrap.ts"
import { bubblewrapCommand, SANDBOX_UID } from "./bubblewrap.ts"
import { sandboxFiles } from "./SandboxFiles.ts"

/** Gives everything below `path` to the sandbox's identity. Links are not followed: an earlier attempt may have left some. */
const giveAway = (path: string): void => {
  lchownSync(path, SANDBOX_UID, SANDBOX_UID)
  if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) giveAway(join(path, name))
}

const refuse = (message: string, remedy: string): never => {
  throw new SandboxRefused({ message, remedy })
}

/** As root, the confined process is somebody else: what it may write is given to it, and what it must read has to be readable. */
const admit = (confinement: Confinement): void => {
  for (const path of confinement.writable) giveAway(path)
  for (const path of confinement.readOnly) {
    const stat = statSync(path)
    const needed = stat.isDirectory() ? 0o005 : 0o004
    if ((stat.mode & needed) !== needed) refuse(`${path} cannot be read inside the sandbox: its mode is ${(stat.mode & 0o777).toString(8)}`, `Run: chmod -R o+rX ${path}`)
  }
}

/**
 * A socket in a directory of its own is bound by that directory: after the daemon restarts there is a new socket under the same name.
 * One among others (`shared`) is bound alone.
 */
const socketMount = (socket: string, shared: string): string => (dirname(socket) === shared ? socket : dirname(socket))

export const make = Effect.gen(function*() {
  const home = yield* CurrentHome
  const directory = join(home.root, "sandbox")

  /** What both sandboxes ask of the host's side, and then `command` of each. */
  const prepared = (confinement: Confinement, command: (admitted: Confinement, root: boolean) => readonly [string, ...Array<string>]) =>
    Effect.try({
      try: () => {
        const root = process.getuid?.() === 0
        if (root) admit(confinement)
        const sockets = [...new Set(confinement.sockets.map((socket) => socketMount(socket, home.sockets)))]
        if (root) {
          for (const socket of confinement.sockets) {
            if (dirname(socket) !== home.sockets) chmodSync(dirname(socket), 0o711) // the directories above it stay closed
            chmodSync(socket, 0o666)
          }
        }
        return command({ ...confinement, sockets }, root)
      },
      catch: (cause) =>
        cause instanceof SandboxRefused ? cause : new SandboxRefused({ message: `The sandbox cannot be prepared: ${(cause as Error).message}`, remedy: "Check that the path exists and that the home (HYPER_HOME) can be written." })
    })

  const inBubblewrap = Effect.fnUntraced(function*(confinement: Confinement) {
    const { reason, tools } = yield* Effect.promise(availableBubblewrap)
    if (tools === undefined) return yield* new SandboxRefused({ message: `No sandbox can be made here (${reason})`, remedy: REMEDY })
    return yield* prepared(confinement, (admitted, root) => bubblewrapCommand(tools, sandboxFiles(directory), admitted, root))
  })

  const inContainer = Effect.fnUntraced(function*(confinement: Confinement) {
    const { containerCommand, prepareEngine } = yield* Effect.promise(() => import("./containerCommand.ts"))
    yield* prepareEngine(home.root, directory)
    return yield* prepared(confinement, (admitted) => containerCommand(admitted, home.root, directory))
  })

  return Sandbox.of({
    choose: Effect.fn("Sandbox.choose")(function*(mode) {
      if (mode === "none") return "none"
      const available = yield* Effect.promise(availableSandbox)
      if (available.kind === "none" && mode === "required") {
        return yield* new SandboxRefused({ message: `sandbox: "required", and none can be made here (${available.reasons.join("; ")})`, remedy: REMEDY })
      }
      return available.kind
    }),
    wrap: (kind, confinement) =>
      kind === "none"
        ? Effect.succeed(confinement.command)
        : kind === "bubblewrap"
          ? inBubblewrap(confinement)
          : inContainer(confinement)
  })
})

export const layer = Layer.effect(Sandbox, make)
