/** Runs a program and streams its output line by line (stdout and stderr together). The program's process group is gone when the stream is, however it ends. */
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

/** `exitCode` null: it did not start, or a signal ended it. `lastLines`: the end of its output. */
export class ProgramFailed extends Schema.TaggedError<ProgramFailed>()("ProgramFailed", {
  message: Schema.String,
  exitCode: Schema.NullOr(Schema.Int),
  lastLines: Schema.Array(Schema.String)
}) {}

const killGroup = (child: ChildProcess): void => {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, "SIGKILL")
  } catch {
    // the group is gone already
  }
}

export const runLines = (
  program: string,
  args: ReadonlyArray<string>,
  options: { readonly env: Readonly<Record<string, string>>; readonly cwd?: string }
): Stream.Stream<string, ProgramFailed> =>
  Stream.callback<string, ProgramFailed>((queue) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(program, args, { env: { ...options.env }, ...(options.cwd === undefined ? {} : { cwd: options.cwd }), detached: true, stdio: ["ignore", "pipe", "pipe"] })
        const lastLines: Array<string> = []
        const fail = (message: string, exitCode: number | null) => Queue.failCauseUnsafe(queue, Cause.fail(new ProgramFailed({ message, exitCode, lastLines: [...lastLines] })))
        for (const source of [child.stdout, child.stderr]) {
          createInterface({ input: source }).on("line", (line) => {
            lastLines.push(line)
            if (lastLines.length > 20) lastLines.shift()
            Queue.offerUnsafe(queue, line)
          })
        }
        child.on("error", (error) => fail(`${program} did not start: ${error.message}`, null))
        child.on("close", (code, signal) => {
          if (code === 0) Queue.endUnsafe(queue)
          else fail(signal === null ? `${program} ended with exit code ${code}` : `${program} was ended by ${signal}`, code)
        })
        return child
      }),
      (child) => Effect.sync(() => killGroup(child))
    )
  )
