/** Supervised jobs with real processes: how they end, what they are given, what they leave. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import { describe, expect, it } from "vitest"
import { survivorsOf } from "../../src/jobs/endSurvivors.ts"
import { parseIdentity } from "../../src/jobs/ProcessIdentity.ts"
import { Keyring } from "../../src/keys/Keyring.ts"
import { verifyBatch } from "../../src/telemetry/batch.ts"
import type { SignedBatch } from "../../src/telemetry/Sample.ts"
import { sh, spec, until, withJobs } from "./withJobs.ts"

const watches = () => process.getActiveResourcesInfo().filter((kind) => kind === "FSEventWrap").length

describe("a job", () => {
  it("runs to its end; status, log and exit code stay", () =>
    withJobs((jobs) =>
      Effect.gen(function*() {
        const handle = yield* jobs.start("k", { ...spec, command: sh("echo out; echo err >&2; exit 7") })
        const state = yield* jobs.ended(handle)
        expect(state).toMatchObject({ _tag: "Ended", exitCode: 7, signal: null, cancelled: false })
        expect(yield* jobs.state(handle)).toEqual(state)
        expect(readFileSync(join(handle.directory, "output.log"), "utf8")).toBe("out\nerr\n")
        expect(yield* jobs.list).toEqual([{ handle, purpose: "train", runId: "run-1", stepId: "train" }])
        expect(statSync(handle.directory).mode & 0o777).toBe(0o700)
      })))

  it("that a signal ended says which", () =>
    withJobs((jobs) =>
      Effect.gen(function*() {
        const handle = yield* jobs.start("k", { ...spec, command: sh("kill -9 $$") })
        expect(yield* jobs.ended(handle)).toMatchObject({ _tag: "Ended", exitCode: null, signal: "SIGKILL", cancelled: false })
      })))

  it("whose program is not there ends with 127 and a note", () =>
    withJobs((jobs) =>
      Effect.gen(function*() {
        const handle = yield* jobs.start("k", { ...spec, command: ["/nowhere/program"] })
        expect(yield* jobs.ended(handle)).toMatchObject({ _tag: "Ended", exitCode: 127, note: expect.stringContaining("/nowhere/program") })
      })))

  it("gets exactly its environment, its input by pipe, and no secret on disk", () =>
    withJobs((jobs) =>
      Effect.gen(function*() {
        process.env["HYPER_TEST_LEAK"] = "leaked"
        const handle = yield* jobs.start("k", { ...spec, env: { PATH: "/usr/bin:/bin", GIVEN: "yes" }, stdin: "s3cret-token", command: sh("env; wc -c") })
        yield* jobs.ended(handle)
        delete process.env["HYPER_TEST_LEAK"]
        const log = readFileSync(join(handle.directory, "output.log"), "utf8")
        // PWD, SHLVL, _ and OLDPWD are the shell's own
        const names = log.split("\n").flatMap((line) => /^([A-Z_]+)=/.exec(line)?.[1] ?? []).filter((name) => !["PWD", "SHLVL", "_", "OLDPWD"].includes(name))
        expect(names.toSorted()).toEqual(["GIVEN", "HYPER_JOB", "PATH"])
        expect(log).toContain("12")
        for (const file of ["spec.json", "status.json", "supervisor.json", "supervisor.log"]) expect(readFileSync(join(handle.directory, file), "utf8")).not.toContain("s3cret")
        // the same check sees it where it does stand
        expect(JSON.stringify({ ...spec, stdin: "s3cret-token" })).toContain("s3cret")
      })))

  it("has its telemetry signed while it runs, by this node's key, which no command line or environment shows", () =>
    withJobs((jobs, root) =>
      Effect.gen(function*() {
        const sample = `{"at":1,"rank":0,"kind":"step","step":'$i',"loss":0.5}`
        const script = `for i in 1 2 3; do echo '${sample}' >> "$HYPER_TELEMETRY"; sleep 1.1; done; while [ ! -e ${root}/go ]; do sleep 0.05; done; echo '${sample.replace("'$i'", "4")}' >> "$HYPER_TELEMETRY"`
        const directory = yield* jobs.directory("k")
        const handle = yield* jobs.start("k", { ...spec, env: { ...spec.env, HYPER_TELEMETRY: join(directory, "telemetry.jsonl") }, stdin: "s3cret-token", command: sh(script) })
        const read = () => (existsSync(join(directory, "batches.jsonl")) ? readFileSync(join(directory, "batches.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line) as SignedBatch) : [])
        yield* Effect.promise(() => until("two batches while it runs", () => read().length >= 2))
        expect(yield* jobs.state(handle)).toMatchObject({ _tag: "Running" })
        const keyring = yield* Keyring
        const pem = Redacted.value(yield* keyring.get("node")).split("\n")[1]!
        const { pid } = parseIdentity(handle.supervisor)!
        for (const file of ["cmdline", "environ"]) for (const secret of [pem, "s3cret-token"]) expect(readFileSync(`/proc/${pid}/${file}`, "latin1")).not.toContain(secret)
        expect(readFileSync(`/proc/${pid}/cmdline`, "latin1")).toContain(directory) // the check does read that process
        writeFileSync(`${root}/go`, "")
        yield* jobs.ended(handle)
        const batches = read()
        const node = yield* keyring.publicKey("node")
        let head: { sequence: number; digest: string } | null = null
        for (const batch of batches) {
          expect(verifyBatch(batch, head)).toBeUndefined()
          expect([batch.node, batch.job]).toEqual([node, handle.id])
          head = batch
        }
        expect(batches.flatMap((batch) => batch.samples.map((one) => one.step))).toEqual([1, 2, 3, 4])
      })))

  it("is waited for without leaving a watch open, whether it ends or the wait is given up", () =>
    withJobs((jobs) =>
      Effect.gen(function*() {
        const before = watches()
        const handle = yield* jobs.start("k", { ...spec, command: sh("sleep 2.5") })
        const waiting = yield* Effect.forkChild(jobs.ended(handle))
        yield* Effect.promise(() => until("a watch", () => watches() > before)) // the count does see one
        const given = yield* Effect.forkChild(jobs.ended(handle))
        yield* Effect.sleep(100)
        yield* Fiber.interrupt(given)
        expect(yield* Fiber.join(waiting)).toMatchObject({ _tag: "Ended", exitCode: 0 })
        yield* Effect.promise(() => until("no watch left", () => watches() === before))
      })))

  it("is one job however often and concurrently it is started", () =>
    withJobs((jobs, root) =>
      Effect.gen(function*() {
        const command = sh(`echo x >> ${root}/starts; sleep 60`)
        const handles = yield* Effect.all(Array.from({ length: 6 }, () => jobs.start("k", { ...spec, command })), { concurrency: "unbounded" })
        expect(new Set(handles.map((handle) => JSON.stringify(handle))).size).toBe(1)
        yield* Effect.promise(() => until("start", () => existsSync(`${root}/starts`)))
        yield* jobs.start("k", { ...spec, command })
        expect(readFileSync(`${root}/starts`, "utf8")).toBe("x\n")
        // planted: another key is another job, and the same count sees it
        const other = yield* jobs.start("k2", { ...spec, command })
        expect(other.id).not.toBe(handles[0]!.id)
        yield* Effect.promise(() => until("second start", () => readFileSync(`${root}/starts`, "utf8") === "x\nx\n"))
      })))

  it("cancelled: asked first, then ended; nothing is left, also of what left its group", () =>
    withJobs((jobs, root) =>
      Effect.gen(function*() {
        // one child ignores SIGTERM, one leaves the process group (setsid): the check below sees both while they live
        const script = `trap 'echo asked >> ${root}/asked; exit 3' TERM; setsid sh -c 'trap "" TERM; sleep 600' & sh -c 'trap "" TERM; sleep 600' & echo up > ${root}/up; wait`
        const handle = yield* jobs.start("k", { ...spec, command: sh(script), graceMillis: 2000 })
        yield* Effect.promise(() => until("up", () => existsSync(`${root}/up`) && survivorsOf(handle.directory).length >= 3))
        yield* jobs.cancel(handle)
        expect(survivorsOf(handle.directory)).toEqual([])
        expect(readFileSync(`${root}/asked`, "utf8")).toBe("asked\n")
        expect(yield* jobs.state(handle)).toMatchObject({ _tag: "Ended", cancelled: true, exitCode: 3 })
        yield* jobs.cancel(handle)
      })))

  it("that does not listen is killed after its grace", () =>
    withJobs((jobs, root) =>
      Effect.gen(function*() {
        const handle = yield* jobs.start("k", { ...spec, command: sh(`trap "" TERM; echo > ${root}/up; while :; do sleep 0.1; done`), graceMillis: 300 })
        yield* Effect.promise(() => until("up", () => existsSync(`${root}/up`)))
        yield* jobs.cancel(handle)
        expect(yield* jobs.state(handle)).toMatchObject({ _tag: "Ended", cancelled: true, signal: "SIGKILL" })
        expect(survivorsOf(handle.directory)).toEqual([])
      })))

  it("that ends leaves no child behind", () =>
    withJobs((jobs) =>
      Effect.gen(function*() {
        const handle = yield* jobs.start("k", { ...spec, command: sh("sleep 600 & setsid sleep 600 & exit 0") })
        expect(yield* jobs.ended(handle)).toMatchObject({ exitCode: 0 })
        expect(survivorsOf(handle.directory)).toEqual([])
      })))

  it("is restarted after a bad end as often as asked, and not after a good one", () =>
    withJobs((jobs, root) =>
      Effect.gen(function*() {
        const bad = yield* jobs.start("bad", { ...spec, restarts: 1, stdin: "again", command: sh(`cat >> ${root}/bad; exit 1`) })
        expect(yield* jobs.ended(bad)).toMatchObject({ exitCode: 1 })
        expect(readFileSync(`${root}/bad`, "utf8")).toBe("againagain")
        const good = yield* jobs.start("good", { ...spec, restarts: 1, command: sh(`echo x >> ${root}/good`) })
        yield* jobs.ended(good)
        expect(readFileSync(`${root}/good`, "utf8")).toBe("x\n")
      })))
})
