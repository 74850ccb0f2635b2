/**
 * `hyper watch`: looks at a branch, handles each commit of it once, and tells what happens. What was seen is in SQL before anything is
 * done about it, and a run's id follows from commit and file, so that a daemon that was killed at any point goes on without doing
 * anything twice.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { CurrentHome } from "../capability/CurrentHome.ts"
import { Secrets } from "../capability/Secrets.ts"
import { type Address, parseAddress } from "../git/address.ts"
import { Git } from "../git/Git.ts"
import { GitError } from "../git/GitError.ts"
import { printable } from "../git/printable.ts"
import { Runner } from "../run/Runner.ts"
import { RunStore } from "../run/RunStore.ts"
import { availableSandbox } from "../sandbox/available.ts"
import { accessOf } from "./accessOf.ts"
import { handleCommit } from "./handleCommit.ts"
import { mirrorOf } from "./Reports.ts"
import { type Session, storedOf } from "./Session.ts"
import { Tellers } from "./Tellers.ts"
import type { WatchEvent } from "./WatchEvent.ts"
import { WatchedRuns } from "./WatchedRuns.ts"
import { type FileState, type SeenCommit, watchId, WatchStore, type WatchStoreError } from "./WatchStore.ts"
import type { WatchSpec } from "./WatchSpec.ts"

/** of one look: what somebody pushes at once cannot keep this machine busy for ever */
const MOST_COMMITS = 20
const ONCE_LOOK_MILLIS = 100
/** How long `--once` waits for notes and statuses after its runs have ended; the daemon goes on with them. */
const REPORT_PATIENCE_MILLIS = 60_000

/** The exit code of `hyper` for what a session's files came to: the worst. */
const codeOf = (states: ReadonlySet<FileState>): number => (states.has("failed") || states.has("cancelled") ? 1 : states.has("unplannable") ? 3 : states.has("refused") ? 4 : 0)

const exitCodes: Readonly<Record<GitError["reason"], number>> = { Address: 2, Unreachable: 6, Denied: 4, NotFound: 5, NoBranch: 5, Rewritten: 4, TooLarge: 4, Missing: 4, Failed: 1 }

export class Watcher extends Context.Service<
  Watcher,
  {
    /** Ends by itself with `once`, or where somebody has to decide; its last event is `end`. Interrupting it leaves its runs alone. */
    readonly watch: (tenant: string, spec: WatchSpec, tell: (event: WatchEvent) => void) => Effect.Effect<void>
    /** At start-up: runs of commits are followed again, and what is to be reported is. */
    readonly recover: Effect.Effect<void>
  }
>()("@hypernode/engine/watch/Watcher") {
  static readonly layer: Layer.Layer<Watcher, never, WatchStore | WatchedRuns | Tellers | Git | Secrets | Runner | RunStore | CurrentHome> = Layer.effect(
    Watcher,
    Effect.gen(function* () {
      const context = yield* Effect.context<WatchStore | WatchedRuns | Tellers | Git | Secrets | Runner | RunStore | CurrentHome>()
      const store = Context.get(context, WatchStore)
      const watched = Context.get(context, WatchedRuns)
      const tellers = Context.get(context, Tellers)
      return Watcher.of({
        watch: (tenant, spec, tell) => {
          const id = watchId(tenant, spec)
          return Effect.suspend(() => {
            if (!tellers.add(id, tell)) return Effect.sync(() => tell({ type: "end", code: 4, message: "this repository, branch and path are watched already", remedy: "end the other hyper watch with Ctrl-C, or name another --branch or --path" }))
            return session(tenant, spec, tell).pipe(
              Effect.catch((error) =>
                Effect.sync(() => tell(error instanceof GitError ? { type: "end", code: exitCodes[error.reason], message: error.message, remedy: error.remedy } : { type: "end", code: 1, message: error.message, remedy: "hyper doctor looks further" }))
              ),
              Effect.ensuring(Effect.sync(() => tellers.remove(id))),
              Effect.provideContext(context)
            )
          })
        },
        recover: Effect.gen(function* () {
          for (const { commit, spec, watch } of yield* store.unsettled) {
            for (const row of yield* store.files(watch, commit)) if (row.state === "running") yield* watched.follow(row, spec)
            yield* watched.settle(watch, commit, spec)
          }
        }).pipe(Effect.catch((error: WatchStoreError) => Effect.logWarning(error.message)))
      })
    })
  )
}

/** Wants SQL, a reachable repository and a branch in it. */
const session = Effect.fnUntraced(function* (tenant: string, spec: WatchSpec, tell: (event: WatchEvent) => void) {
  const store = yield* WatchStore
  const home = yield* CurrentHome
  const address: Address = yield* Effect.try({ try: () => parseAddress(spec.repository), catch: (error) => error as GitError })
  const access = yield* accessOf(tenant, spec.access)
  const { head, id } = yield* store.open(tenant, storedOf(spec))
  const mirror = yield* (yield* Git).open(mirrorOf(home.root, id), address, access)
  const confined = (yield* Effect.promise(() => availableSandbox())).kind === "bubblewrap"
  const here: Session = { tenant, spec, id, mirror, isolation: confined ? "server" : "workstation", tell, mine: new Set() }
  tell({ type: "watching", repository: spec.repository, branch: spec.branch, path: spec.path, evaluation: confined ? "bubblewrap" : "permission model" })

  let at = head
  let looked = spec.resumed
  let troubled = false
  // what a killed daemon left: runs that are going, commits that were seen
  for (const open of yield* store.unsettled) if (open.watch === id) here.mine.add(open.commit)
  // without the mirror that they were seen in, they wait for the look
  yield* handlePending(here).pipe(Effect.catchIf((error) => error instanceof GitError && error.reason === "Failed", () => Effect.void))
  for (;;) {
    const look = yield* Effect.result(lookAt(here, at))
    if (look._tag === "Success") {
      looked = true
      troubled = false
      at = look.success
      yield* handlePending(here)
    } else if (!looked || spec.once || !(look.failure instanceof GitError) || look.failure.reason !== "Unreachable") {
      return yield* look.failure
    } else if (!troubled) {
      troubled = true
      tell({ type: "trouble", message: look.failure.message, remedy: look.failure.remedy })
    }
    if (spec.once) return yield* untilSettled(here)
    yield* Effect.sleep(spec.intervalMillis)
  }
})

/** The branch's new head, with its commits noted. Nothing is noted of a branch that was rewritten, unless that was accepted. */
const lookAt = Effect.fnUntraced(function* ({ id, mine, mirror, spec, tell }: Session, at: string | null) {
  const store = yield* WatchStore
  const lookedAt = yield* Clock.currentTimeMillis
  const head = yield* mirror.fetch(spec.branch)
  if (head === at) return head
  if (at !== null && !(yield* mirror.contains(head, at)) && !spec.acceptRewrite) {
    return yield* new GitError({
      reason: "Rewritten",
      message: `${spec.branch} of ${printable(spec.repository)} was force-pushed: ${at.slice(0, 12)}, the last commit seen, is not in the history of ${head.slice(0, 12)}. Nothing of the new history was planned or run`,
      remedy: "look at the new history; if it is wanted, go on from it: hyper watch ... --accept-rewrite"
    })
  }
  const all = at === null ? [head] : yield* mirror.commits(at, head, spec.path)
  const commits: ReadonlyArray<SeenCommit> = all.slice(-MOST_COMMITS).map((commit) => ({ commit, whole: at === null }))
  yield* mirror.keep(head)
  yield* store.advance(id, head, commits)
  for (const { commit } of commits) mine.add(commit)
  tell({ type: "head", commit: head, commits: commits.length, skipped: all.length - commits.length, lookedAt })
  return head
})

const handlePending = Effect.fnUntraced(function* (here: Session) {
  const store = yield* WatchStore
  for (const seen of yield* store.pending(here.id)) yield* handleCommit(here, seen)
})

/** `once`: until every run of this session's commits has ended and is reported. */
const untilSettled = Effect.fnUntraced(function* ({ id, mine, tell }: Session) {
  const store = yield* WatchStore
  while ((yield* store.unsettled).some((open) => open.watch === id && mine.has(open.commit))) yield* Effect.sleep(ONCE_LOOK_MILLIS)
  const patient = (yield* Clock.currentTimeMillis) + REPORT_PATIENCE_MILLIS
  let left = yield* store.openReports(id)
  for (; left > 0 && (yield* Clock.currentTimeMillis) < patient; left = yield* store.openReports(id)) yield* Effect.sleep(ONCE_LOOK_MILLIS)
  const states = new Set<FileState>()
  for (const commit of mine) for (const row of yield* store.files(id, commit)) states.add(row.state)
  const message = left > 0 ? `${left} reports are still on their way; the daemon goes on with them` : mine.size === 0 ? "Nothing new." : undefined
  tell({ type: "end", code: codeOf(states), ...(message === undefined ? {} : { message }) })
})
