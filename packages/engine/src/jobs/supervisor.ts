/**
 * The program that owns one job (design.md, section 4): starts its process, keeps log, status and signed telemetry in the job
 * directory, restarts it where that was asked, and leaves nothing of it behind. It knows no SQL and no effect, and survives the daemon.
 *
 *     node supervisor.ts <job directory>     < handover (JSON; holds the secrets, so it comes by pipe)
 *
 * Answers one line on standard output: `ready`, `taken` (another supervisor has the job), or `error <message>`.
 * SIGTERM or SIGINT cancels the job.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, linkSync, openSync, rmSync, unlinkSync, writeFileSync } from "node:fs"
import type { JobState } from "../capability/Jobs.ts"
import { endSurvivors } from "./endSurvivors.ts"
import { GRACE_MILLIS, type Handover, JOB_VARIABLE, jobFiles } from "./JobDirectory.ts"
import { identityOf } from "./ProcessIdentity.ts"
import { StatusFile } from "./StatusFile.ts"
import { TelemetryTail } from "./TelemetryTail.ts"

const FLUSH_MILLIS = 1000
/** a process that ran this long counts as having started well: its restarts are counted anew */
const STEADY_MILLIS = 60_000
const BACK_OFF_LIMIT = 30_000

const directory = process.argv[2] ?? ""
const files = jobFiles(directory)

const readHandover = async (): Promise<Handover> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return JSON.parse(Buffer.concat(chunks).toString("utf8")) as Handover
}

const answer = (line: string): Promise<void> =>
  new Promise((resolve) => {
    process.stdout.once("error", () => resolve()) // whoever started us has gone: that is what we are for
    process.stdout.end(`${line}\n`, () => resolve())
  })

/** Exactly one supervisor a job: the file appears whole, with its content, or not at all. */
const claim = (): boolean => {
  const mine = `${files.supervisor}.${process.pid}`
  writeFileSync(mine, JSON.stringify(identityOf(process.pid)), { mode: 0o600 })
  try {
    linkSync(mine, files.supervisor)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false
    throw error
  } finally {
    unlinkSync(mine)
  }
}

/** Set just before the process is first started: from here on the claim is never given back, or the job could run twice. */
let started = false

const supervise = async ({ job, nodeKey, spec }: Handover): Promise<void> => {
  const { stdin, ...stored } = spec
  writeFileSync(files.spec, JSON.stringify({ ...stored, job }), { mode: 0o600 })
  const status = new StatusFile(files.status)
  status.write({ _tag: "Starting" })
  const log = openSync(files.output, "a", 0o600)
  const telemetry = new TelemetryTail({ from: files.telemetry, to: files.batches, job, nodeKey })

  const startedAt = Date.now()
  const notes = new Set<string>()
  const noted = () => (notes.size === 0 ? {} : { note: [...notes].join("; ") })
  let child: ChildProcess | undefined
  let cancelled = false
  let killTimer: NodeJS.Timeout | undefined
  let wake: (() => void) | undefined

  const report = (state: JobState): void => {
    try {
      status.write(state)
    } catch (error) {
      process.stderr.write(`cannot write ${files.status}: ${(error as Error).message}\n`)
    }
  }
  const flush = (): void => {
    const error = telemetry.flush()
    if (error !== undefined) notes.add(`telemetry could not be written: ${error.message}`)
  }
  const signalGroup = (signal: NodeJS.Signals): void => {
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    try {
      process.kill(-child.pid, signal)
    } catch {
      // it ended in between
    }
  }
  const cancel = (): void => {
    if (cancelled) return
    cancelled = true
    wake?.()
    signalGroup("SIGTERM")
    killTimer = setTimeout(() => signalGroup("SIGKILL"), spec.graceMillis ?? GRACE_MILLIS)
  }
  process.on("SIGTERM", cancel)
  process.on("SIGINT", cancel)
  process.on("SIGHUP", () => {})

  /** One life of the process. */
  const live = (): Promise<{ readonly code: number | null; readonly signal: string | null }> =>
    new Promise((resolve) => {
      const [program, ...args] = spec.command
      started = true
      try {
        child = spawn(program, args, {
          cwd: spec.cwd ?? directory,
          env: { ...spec.env, [JOB_VARIABLE]: directory },
          detached: true,
          stdio: [stdin === undefined ? "ignore" : "pipe", log, log]
        })
      } catch (error) {
        notes.add(`${program} did not start: ${(error as Error).message}`) // arguments or environment too long, for one
        return resolve({ code: 126, signal: null })
      }
      child.once("error", (error) => {
        notes.add(`${program} did not start: ${error.message}`)
        if (child?.pid === undefined) resolve({ code: (error as NodeJS.ErrnoException).code === "ENOENT" ? 127 : 126, signal: null })
      })
      child.once("exit", (code, signal) => resolve({ code, signal }))
      if (child.pid === undefined) return
      const identity = identityOf(child.pid)
      try {
        if (identity !== undefined) writeFileSync(files.child, JSON.stringify(identity), { mode: 0o600 })
      } catch (error) {
        notes.add(`child.json could not be written: ${(error as Error).message}`)
      }
      report({ _tag: "Running", pid: child.pid, startedAt, ...noted() })
      child.stdin?.on("error", () => {}) // a process that does not read its input
      child.stdin?.end(stdin)
      if (cancelled) signalGroup("SIGTERM")
    })

  const timer = setInterval(flush, FLUSH_MILLIS)
  await answer("ready")
  let restarts = 0
  let end: { readonly code: number | null; readonly signal: string | null } = { code: null, signal: "SIGTERM" }
  // oxlint-disable-next-line no-unmodified-loop-condition -- a signal handler sets it
  while (!cancelled) {
    const began = Date.now()
    end = await live()
    clearTimeout(killTimer)
    const left = await endSurvivors(directory, child?.pid)
    if (left.length > 0) notes.add(`processes ${left.join(", ")} could not be ended`)
    if (Date.now() - began >= STEADY_MILLIS) restarts = 0
    if (cancelled || (end.code === 0 && end.signal === null) || restarts >= (spec.restarts ?? 0)) break
    restarts++
    report({ _tag: "Starting" })
    await new Promise<void>((resolve) => {
      const pause = setTimeout(resolve, Math.min(1000 * 2 ** (restarts - 1), BACK_OFF_LIMIT))
      wake = () => {
        clearTimeout(pause)
        resolve()
      }
    })
    wake = undefined
  }
  clearInterval(timer)
  flush()
  if (telemetry.refused > 0) notes.add(`${telemetry.refused} line(s) of telemetry were not samples`)
  closeSync(log)
  report({ _tag: "Ended", exitCode: end.code, signal: end.signal, startedAt, endedAt: Date.now(), cancelled, ...noted() })
}

let claimed = false
try {
  const handover = await readHandover()
  claimed = claim()
  await (claimed ? supervise(handover) : answer("taken"))
  process.exit(0)
} catch (error) {
  // no room for a file, a key of another kind: a later start can try again
  if (claimed && !started) rmSync(files.supervisor, { force: true })
  await answer(`error ${(error as Error).message.replaceAll("\n", " ")}`)
  process.exit(1)
}
