/**
 * One commit, once: its pipeline files are found, exported, planned and judged, and what may run is started. A run's id follows from
 * commit and file, and each file's row is written after its run was started, so that whoever comes after a crash finds one or the other.
 */
import * as Effect from "effect/Effect"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { CurrentHome } from "../capability/CurrentHome.ts"
import { printable } from "../git/printable.ts"
import { Runner } from "../run/Runner.ts"
import { RunStore } from "../run/RunStore.ts"
import { pipelineFiles } from "./pipelineFiles.ts"
import { planPushed, type Verdict } from "./planPushed.ts"
import { planOnly } from "./Policy.ts"
import { runIdOf, type Session, storedOf } from "./Session.ts"
import { commitDirectory, WatchedRuns } from "./WatchedRuns.ts"
import { type SeenCommit, type WatchedFile, WatchStore } from "./WatchStore.ts"

/** Wherever it is interrupted, what was decided is recorded, and a commit whose last file was decided is handled. */
export const handleCommit = (here: Session, seen: SeenCommit) => Effect.uninterruptibleMask((restore) => handle(here, seen, restore))

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const handle = Effect.fnUntraced(function* (here: Session, { commit, whole }: SeenCommit, restore: Restore) {
  const store = yield* WatchStore
  const watched = yield* WatchedRuns
  const home = yield* CurrentHome
  const { id, mirror, spec, tell } = here
  const files = yield* restore(Effect.flatMap(whole ? mirror.files(commit) : mirror.changed(commit), (tree) => pipelineFiles(mirror, tree, spec.path)))
  tell({ type: "commit", commit, files: files.map((file) => printable(file)) })
  const known = new Map((yield* store.files(id, commit)).map((row) => [row.file, row]))
  const left = files.filter((file) => !known.has(file))
  const directory = commitDirectory(home.root, id, commit)
  const tree = join(directory, "tree")
  // files of a run that may be going are left as they are
  const exported = left.length === 0 || ([...known.values()].some((row) => row.runId !== null) && existsSync(tree)) ? undefined : yield* Effect.result(restore(mirror.export(commit, tree)))
  if (exported?._tag === "Failure") {
    if (exported.failure.reason !== "TooLarge") return yield* exported.failure
    for (const file of left) yield* note(here, commit, file, { state: "refused", message: exported.failure.message, remedy: exported.failure.remedy })
    left.length = 0
  }
  // a project of its own, so that nothing above it counts as one: not the project that this home lies in
  if (left.length > 0) yield* Effect.sync(() => { mkdirSync(directory, { recursive: true, mode: 0o700 }); writeFileSync(join(directory, "package.json"), `{"type":"module","private":true}\n`, { mode: 0o600 }) })
  for (const file of left) yield* handleFile(here, commit, tree, file, restore)
  for (const row of known.values()) if (row.state === "running") yield* watched.follow(row, storedOf(spec))
  yield* store.handled(id, commit)
  yield* watched.settle(id, commit, storedOf(spec))
})

const handleFile = Effect.fnUntraced(function* (here: Session, commit: string, tree: string, file: string, restore: Restore) {
  const { isolation, spec, tenant } = here
  const runner = yield* Runner
  const runs = yield* RunStore
  const policy = spec.policy ?? planOnly
  const runId = runIdOf(tenant, spec, commit, file)
  // a daemon before this one may have started it and not lived to say so
  const begun = yield* Effect.map(Effect.result(runs.events(runId)), (found) => found._tag === "Success" ? found.success.flatMap(({ event }) => (event._tag === "RunQueued" ? [event.planDigest] : []))[0] : undefined)
  const verdict: Verdict | Begun = begun === undefined ? yield* restore(planPushed(tree, file, policy, isolation)) : { state: "begun", planDigest: begun }
  if (verdict.state === "ready") {
    const { plan, projectDirectory } = verdict
    yield* runner.submit({ tenant, plan, projectDirectory, by: `watch ${commit.slice(0, 12)}`, runId })
  }
  yield* note(here, commit, file, verdict)
})

interface Begun {
  readonly state: "begun"
  readonly planDigest: string
}

/** Into SQL, to whoever follows, and into the outbox. */
const note = Effect.fnUntraced(function* ({ id, spec, tell, tenant }: Session, commit: string, file: string, verdict: Verdict | Begun) {
  const store = yield* WatchStore
  const watched = yield* WatchedRuns
  const limits = spec.policy?.limits
  const name = printable(file)
  const runId = runIdOf(tenant, spec, commit, file)
  const starts = verdict.state === "ready" || verdict.state === "begun"
  const row: WatchedFile = {
    watch: id,
    commit,
    file,
    state: starts ? "running" : verdict.state,
    runId: starts ? runId : null,
    planDigest: "planDigest" in verdict ? verdict.planDigest : null,
    message: "message" in verdict ? verdict.message : null,
    remedy: "remedy" in verdict ? verdict.remedy : null,
    endpoint: null,
    dollars: null,
    limits: !starts || (limits?.seconds === undefined && limits?.dollars === undefined) ? null : limits
  }
  yield* store.record(row)
  switch (verdict.state) {
    case "ready":
    case "begun":
      tell({ type: "run", commit, file: name, runId, planDigest: verdict.planDigest })
      break
    case "planned":
      tell({ type: "planned", commit, file: name, planDigest: verdict.planDigest, message: verdict.message })
      break
    default:
      tell({ type: verdict.state, commit, file: name, message: verdict.message, remedy: verdict.remedy })
  }
  yield* watched.recorded(row, storedOf(spec))
  if (starts) yield* watched.follow(row, storedOf(spec))
})
