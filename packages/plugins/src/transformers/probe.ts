/** One question to the base model and to the fine-tuned one: what the training has changed, in the run's own log. */
import { spawn } from "node:child_process"
import * as Effect from "effect/Effect"
import type { ServerFiles } from "../serving/ServerFiles.ts"
import { lastWords } from "./failures.ts"
import { pythonEnv } from "./pythonProcess.ts"

export const PROBE_TOKENS = 64
const SHOWN = 200

export const shown = (answer: string): string => {
  const line = answer.replaceAll(/\s+/g, " ").trim()
  return line === "" ? "(nothing)" : line.length > SHOWN ? `${line.slice(0, SHOWN - 1)}…` : line
}

/** A process of its own, asked once: the base model is not kept in memory. Fails with a sentence; the question goes by standard input. */
export const askBase = (python: string, files: ServerFiles, question: string, device: string, directory: string): Effect.Effect<string, string> =>
  Effect.callback<string, string>((resume) => {
    const child = spawn(python, ["-m", "hyper_serve.once", "--model", files.base, "--tokenizer", files.tokenizer, "--device", device, "--max-tokens", String(PROBE_TOKENS)], {
      env: pythonEnv(directory),
      cwd: directory,
      stdio: ["pipe", "pipe", "pipe"]
    })
    let out = ""
    let err = ""
    child.stdout.setEncoding("utf8").on("data", (part: string) => (out += part))
    child.stderr.setEncoding("utf8").on("data", (part: string) => (err = (err + part).slice(-16_384)))
    child.stdin.on("error", () => {}) // it may end before it has read
    child.stdin.end(JSON.stringify({ question }))
    child.once("error", (error) => resume(Effect.fail(error.message)))
    child.once("close", (code) => {
      try {
        resume(code === 0 ? Effect.succeed((JSON.parse(out) as { answer: string }).answer) : Effect.fail(lastWords(err)?.message ?? `it ended with ${code}`))
      } catch {
        resume(Effect.fail("its answer cannot be read"))
      }
    })
    return Effect.sync(() => {
      child.kill("SIGKILL")
    })
  })
