/**
 * The outbox: notes and commit statuses that are still to be delivered, each once. A row is marked before it is sent; a status whose row
 * was marked by an attempt that nobody saw end is looked for at the forge first. What may arrive later is tried again, ever more rarely.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import { join } from "node:path"
import { CurrentHome } from "../capability/CurrentHome.ts"
import { Secrets } from "../capability/Secrets.ts"
import { parseAddress } from "../git/address.ts"
import { Git } from "../git/Git.ts"
import { GitError } from "../git/GitError.ts"
import { accessOf } from "./accessOf.ts"
import { type CommitStatus, ForgeError, sendStatus } from "./forge.ts"
import { Tellers } from "./Tellers.ts"
import { type Report, WatchStore, type WatchStoreError } from "./WatchStore.ts"

const FIRST_PAUSE_MILLIS = 2_000
const LONGEST_PAUSE_MILLIS = 600_000
/** about a week of pauses */
const MOST_ATTEMPTS = 1_000

export const mirrorOf = (root: string, watch: string): string => join(root, "watch", watch, "mirror.git")

export class Reports extends Context.Service<
  Reports,
  {
    /** Something was put into the outbox. */
    readonly wake: Effect.Effect<void>
  }
>()("@hypernode/engine/watch/Reports") {
  static readonly layer: Layer.Layer<Reports, never, WatchStore | Git | Secrets | CurrentHome | Tellers> = Layer.effect(
    Reports,
    Effect.gen(function* () {
      const store = yield* WatchStore
      const git = yield* Git
      const secrets = yield* Secrets
      const home = yield* CurrentHome
      const tellers = yield* Tellers
      const woken = yield* Queue.sliding<void>(1)

      const sendNote = Effect.fnUntraced(function* ({ commit, payload, spec, tenant, watch }: Report) {
        const access = yield* accessOf(tenant, spec.access).pipe(Effect.provideService(Secrets, secrets))
        const address = yield* Effect.try({ try: () => parseAddress(spec.repository), catch: (error) => error as GitError })
        const mirror = yield* git.open(mirrorOf(home.root, watch), address, access)
        yield* mirror.note(commit, String(payload))
      })

      const sendToForge = Effect.fnUntraced(function* ({ attempts, commit, payload, spec, tenant }: Report) {
        const target = spec.status
        if (target === undefined) return
        const token = yield* secrets.get(tenant, { $secret: target.secret }).pipe(Effect.mapError(({ message }) => new ForgeError(message, { retry: false, remedy: `set ${target.secret} in the environment of hyper watch` })))
        yield* Effect.tryPromise({ try: () => sendStatus(target, token, commit, payload as CommitStatus, attempts > 0), catch: (error) => (error instanceof ForgeError ? error : new ForgeError(String(error), { retry: true, remedy: "it is tried again by itself" })) })
      })

      const deliver = Effect.fnUntraced(function* (report: Report) {
        yield* store.trying(report.id)
        const send: Effect.Effect<void, GitError | ForgeError> = report.target === "note" ? sendNote(report) : sendToForge(report)
        const sent = yield* Effect.result(send)
        const { commit, target } = report
        if (sent._tag === "Success") {
          yield* store.done(report.id, null)
          return tellers.tell(report.watch, { type: "reported", commit, target, state: report.state })
        }
        const error: GitError | ForgeError = sent.failure
        const again = (error instanceof ForgeError ? error.retry : error.reason === "Unreachable") && report.attempts < MOST_ATTEMPTS
        tellers.tell(report.watch, { type: "unreported", commit, target, message: error.message, remedy: error.remedy, again })
        if (!again) {
          yield* Effect.logWarning(`the ${target} of ${commit.slice(0, 12)} was not delivered: ${error.message}`)
          return yield* store.done(report.id, error.message)
        }
        const pause = Math.min(LONGEST_PAUSE_MILLIS, Math.max((error instanceof ForgeError ? error.afterMillis : undefined) ?? 0, FIRST_PAUSE_MILLIS * 2 ** Math.min(report.attempts, 20)))
        yield* store.postpone(report.id, (yield* Clock.currentTimeMillis) + pause, error.message)
      })

      const loop = Effect.gen(function* () {
        for (;;) {
          const due = yield* store.due
          for (const report of due) yield* deliver(report)
          if (due.length > 0) continue
          const next = yield* store.nextDue
          const pause = next === null ? undefined : Math.max(20, next - (yield* Clock.currentTimeMillis))
          yield* pause === undefined ? Queue.take(woken) : Effect.raceFirst(Queue.take(woken), Effect.sleep(pause))
        }
      })
      yield* loop.pipe(
        // the database is away: what is in it stays in it
        Effect.catch((error: WatchStoreError) => Effect.andThen(Effect.logWarning(error.message), Effect.sleep("5 seconds"))),
        Effect.forever,
        Effect.forkScoped
      )
      return Reports.of({ wake: Effect.asVoid(Queue.offer(woken, undefined)) })
    })
  )
}
