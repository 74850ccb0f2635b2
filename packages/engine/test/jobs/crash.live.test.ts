/** kill -9 of the process that started a job, and of the supervisor; a full disk. */
import { execFileSync, spawn } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { describe, expect, it } from "vitest"
import type { JobHandle } from "../../src/capability/Jobs.ts"
import { survivorsOf } from "../../src/jobs/endSurvivors.ts"
import { parseIdentity } from "../../src/jobs/ProcessIdentity.ts"
import { sh, spec, until, withJobs } from "./withJobs.ts"

const pidOf = (handle: JobHandle): number => parseIdentity(handle.supervisor)!.pid

describe("after a kill -9", () => {
  it("of whoever started it, a job goes on and another process re-attaches without starting it again", () =>
    withJobs((jobs, root) =>
      Effect.gen(function*() {
        const script = `echo x >> ${root}/starts; while [ ! -e ${root}/go ]; do sleep 0.05; done; exit 5`
        const starter = spawn(process.execPath, [join(import.meta.dirname, "starter.ts"), root, "k", script], { stdio: ["ignore", "pipe", "inherit"], detached: true })
        const line = yield* Effect.promise(() => new Promise<string>((resolve) => starter.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString()))))
        const handle = JSON.parse(line) as JobHandle
        process.kill(-starter.pid!, "SIGKILL") // the whole group of the starter, as a terminal that closes does
        yield* Effect.promise(() => until("starter gone", () => starter.signalCode !== null))
        yield* Effect.promise(() => until("job started", () => existsSync(`${root}/starts`)))
        expect(yield* jobs.state(handle)).toMatchObject({ _tag: "Running" })
        expect(yield* jobs.start("k", { ...spec, command: sh(script) })).toEqual(handle)
        writeFileSync(`${root}/go`, "")
        expect(yield* jobs.ended(handle)).toMatchObject({ _tag: "Ended", exitCode: 5 })
        expect(readFileSync(`${root}/starts`, "utf8")).toBe("x\n")
      })))

  it("of the supervisor, the job is lost, and what was left of it is ended before that is said", () =>
    withJobs((jobs, root) =>
      Effect.gen(function*() {
        const handle = yield* jobs.start("k", { ...spec, command: sh(`setsid sleep 600 & echo > ${root}/up; sleep 600`) })
        yield* Effect.promise(() => until("up", () => existsSync(`${root}/up`) && survivorsOf(handle.directory).length >= 3))
        process.kill(pidOf(handle), "SIGKILL")
        // planted: the processes do outlive their supervisor, and the check sees them
        yield* Effect.promise(() => until("supervisor gone", () => !existsSync(`/proc/${pidOf(handle)}`) || / Z /.test(readFileSync(`/proc/${pidOf(handle)}/stat`, "utf8"))))
        expect(survivorsOf(handle.directory).length).toBeGreaterThanOrEqual(2)
        expect(yield* jobs.ended(handle)).toMatchObject({ _tag: "Lost" })
        expect(survivorsOf(handle.directory)).toEqual([])
        expect(yield* jobs.state(handle)).toMatchObject({ _tag: "Lost" })
        yield* jobs.cancel(handle)
      })))

  it("of the supervisor, somebody who was already waiting is told", () =>
    withJobs((jobs) =>
      Effect.gen(function*() {
        const handle = yield* jobs.start("k", { ...spec, command: sh("sleep 600") })
        const waiting = yield* Effect.forkChild(jobs.ended(handle))
        yield* Effect.sleep(50)
        process.kill(pidOf(handle), "SIGKILL")
        expect(yield* Fiber.join(waiting)).toMatchObject({ _tag: "Lost" })
      })))

  it("a supervisor identity of another boot is not taken for a living one", () =>
    withJobs((jobs) =>
      Effect.gen(function*() {
        const handle = yield* jobs.start("k", { ...spec, command: sh("sleep 600") })
        const { bootId, pid, startTime } = parseIdentity(handle.supervisor)!
        expect(yield* jobs.state(handle)).not.toMatchObject({ _tag: "Lost" })
        expect(yield* jobs.state({ ...handle, id: "none", supervisor: `${pid} ${bootId.replaceAll(/[0-9a-f]/g, "0")} ${startTime}` })).toMatchObject({ _tag: "Lost" })
      })))
})

const canMount = process.platform === "linux" && process.getuid?.() === 0
if (!canMount && process.env["CI"] === "true") throw new Error("These tests need root, to mount a small tmpfs")
if (!canMount) console.warn("skipped: a full disk (mounting a small tmpfs needs root)")

describe.skipIf(!canMount)("on a full disk", () => {
  it("a job's end is still told, with what could not be written", () =>
    withJobs((jobs, root) =>
      Effect.gen(function*() {
        mkdirSync(`${root}/jobs`, { mode: 0o700 })
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", `${root}/jobs`])
        yield* Effect.gen(function*() {
          const sample = JSON.stringify({ at: 1, rank: 0, kind: "step", step: 1 })
          const handle = yield* jobs.start("k", { ...spec, command: sh(`echo '${sample}' > telemetry.jsonl; cat /dev/zero > filler; exit 9`) })
          expect(yield* jobs.ended(handle)).toMatchObject({ _tag: "Ended", exitCode: 9, note: expect.stringMatching(/telemetry could not be written.*ENOSPC/) })
          expect(readFileSync(join(handle.directory, "batches.jsonl"), { encoding: "utf8", flag: "a+" })).toBe("")
          const refused = yield* Effect.flip(jobs.start("k2", { ...spec, command: sh("true") }))
          expect(refused).toMatchObject({ _tag: "JobError", message: expect.stringContaining("the disk is full"), remedy: expect.stringContaining("Free some space") })
        }).pipe(Effect.ensuring(Effect.sync(() => execFileSync("umount", ["-l", `${root}/jobs`]))))
      })))
})
