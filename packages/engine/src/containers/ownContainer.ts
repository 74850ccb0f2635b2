/**
 * The program that owns one container, in the place of the process that a supervisor would own: standard input, output, signals and exit
 * status are the container's. Ends with it; and it ends with this program, killed or not.
 *
 *     node ownContainer.ts '<JSON of Owned>'      its environment is the container's
 *
 * Exit status: the container's own; 125 where the engine failed. Plain Node.
 */
import { execFileSync } from "node:child_process"
import { chmodSync, closeSync, constants, openSync, rmSync } from "node:fs"
import type { ContainerSpec } from "../capability/Containers.ts"
import { DockerEngine } from "./DockerEngine.ts"
import type { EngineAddress } from "./engineAddress.ts"
import type { EngineFault } from "./EngineFault.ts"

export interface Owned {
  readonly engine: EngineAddress
  readonly spec: ContainerSpec
  /** a pipe to make, which the container holds the other end of. Without one the container lives on when this program is killed, until a sweep. */
  readonly leash?: string
  /** from the first signal to SIGKILL; without it whoever sent the signal sees to that */
  readonly graceMillis?: number
}

const ENGINE_FAILED = 125

/** What is said of the container, after what it said itself. Holds no data. */
const say = (line: string): void => void process.stderr.write(`error: container: ${line.replaceAll("\n", " ")}\n`)

const holdLeash = (path: string): number => {
  rmSync(path, { force: true })
  execFileSync("mkfifo", ["-m", "644", path])
  chmodSync(path, 0o644) // whatever the umask
  // for reading too, so that it does not wait for the container
  return openSync(path, constants.O_RDWR)
}

const own = async ({ engine: address, graceMillis, leash, spec: given }: Owned): Promise<number> => {
  const own = Object.fromEntries(Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
  const spec = { ...given, env: { ...given.env, ...own } }
  const engine = await DockerEngine.open(address)
  const held = leash === undefined ? undefined : holdLeash(leash)
  const release = (): void => {
    if (held === undefined) return
    closeSync(held)
    rmSync(leash!, { force: true })
  }
  let id: string | undefined
  // asked to end before it is there
  let asked: NodeJS.Signals | undefined
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    process.on(signal, () => {
      const first = asked === undefined
      asked = signal
      const pass = (name: string) => id !== undefined && engine.kill(id, name).catch((error: Error) => say(error.message))
      pass(signal)
      if (first && graceMillis !== undefined) setTimeout(() => pass("SIGKILL"), graceMillis).unref()
    })
  }
  try {
    // an earlier life of the same job
    await engine.remove(spec.name)
    const made = await engine.create(spec)
    try {
      const { split, stream } = await engine.attach(made, spec.stdin === true)
      const output = new Promise<void>((resolve) => stream.once("close", resolve))
      split(process.stdout, process.stderr)
      const { ended } = await engine.wait(made, "next-exit")
      if (asked !== undefined) return 143
      await engine.start(made, spec.name)
      id = made
      if (asked !== undefined) await engine.kill(id, asked)
      if (spec.stdin === true) process.stdin.pipe(stream)
      stream.on("error", () => {}) // `ended` tells
      const end = await ended
      // what it said last may still be on its way
      await Promise.race([output, new Promise((resolve) => setTimeout(resolve, 1000))])
      if (end.outOfMemory) {
        const limit = spec.memory === undefined ? "" : ` of ${(spec.memory / 2 ** 20).toFixed(0)} MiB`
        if (end.exitCode === 0) process.stderr.write(`warning: container: its memory limit${limit} was reached, and the system ended a process in it\n`)
        else say(`Cannot allocate memory: its limit${limit} was reached, and the system ended a process in it`)
      }
      return end.exitCode
    } finally {
      // an engine that is gone has been told of: the next sweep removes it
      await engine.remove(made).catch((fault: EngineFault) => fault.reason !== "NoEngine" && process.stderr.write(`warning: container: ${fault.message}\n`))
    }
  } catch (cause) {
    const { message, reason, remedy } = cause as EngineFault
    say(`${reason === "OutOfSpace" ? "No space left on device: " : ""}${message}${remedy === undefined ? "" : ` ${remedy}`}`)
    return ENGINE_FAILED
  } finally {
    release()
  }
}

const status = await own(JSON.parse(process.argv[2] ?? "") as Owned)
// a supervisor may leave standard input open
process.exit(status)
