/** Starts the supervisor program, detached, and hands the job over through its standard input. */
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { closeSync, openSync, readFileSync } from "node:fs"
import type { Readable, Writable } from "node:stream"
import { programPath } from "../program.ts"
import { type Handover, jobFiles } from "./JobDirectory.ts"

const PROGRAM = programPath(import.meta.url, "./supervisor")

/** A supervisor answers in well under a second; this is for a machine that swaps. */
const ANSWER_MILLIS = 60_000

/** Resolves when the job has a supervisor: this one, or (`taken`) one that was faster. Rejects with the reason where it could not start. */
export const startSupervisor = (directory: string, handover: Handover): Promise<"ready" | "taken"> =>
  new Promise((resolve, reject) => {
    const log = openSync(jobFiles(directory).supervisorLog, "a", 0o600)
    // its own environment is empty but for what Node needs to find itself: nothing of ours is inherited by anything
    const child = spawn(process.execPath, ["--max-old-space-size=64", "--max-semi-space-size=1", PROGRAM, directory], {
      cwd: directory,
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
      detached: true,
      stdio: ["pipe", "pipe", log]
    }) as ChildProcessByStdio<Writable, Readable, null>
    closeSync(log)
    let said = ""
    const settle = (end: () => void) => {
      clearTimeout(timer)
      child.removeAllListeners()
      child.on("error", () => {})
      child.stdout.destroy()
      child.unref()
      end()
    }
    const timer = setTimeout(() => {
      child.kill("SIGKILL")
      settle(() => reject(new Error(`the supervisor did not answer within ${ANSWER_MILLIS / 1000} s`)))
    }, ANSWER_MILLIS)
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8")
      const line = said.split("\n", 2)
      if (line.length < 2) return
      const answer = line[0]!
      settle(() => (answer === "ready" || answer === "taken" ? resolve(answer) : reject(new Error(answer.replace(/^error /, "")))))
    })
    child.once("error", (error) => settle(() => reject(error)))
    child.once("close", (code, signal) =>
      settle(() => {
        let tail = ""
        try {
          tail = readFileSync(jobFiles(directory).supervisorLog, "utf8").trim().split("\n").slice(-3).join(" ")
        } catch {
          // the exit code alone, then
        }
        reject(new Error(`the supervisor ended (${signal ?? `exit code ${code}`}) before it had the job${tail === "" ? "" : `: ${tail}`}`))
      }))
    child.stdin.on("error", () => {}) // it died before reading: `close` tells
    child.stdin.end(JSON.stringify(handover))
  })
