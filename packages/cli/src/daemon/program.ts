/** The daemon of one home: owns the database, the executor, the outbox and the API. Leaves when nothing is left to do. */
import { makeApp } from "@hypernode/api"
import { AuthStore } from "@hypernode/api/auth/AuthStore"
import { Engine } from "@hypernode/api/Engine"
import { listenUnix } from "@hypernode/api/http/listen"
import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import { Secrets } from "@hypernode/engine/capability/Secrets"
import type { Home } from "@hypernode/engine/Home"
import type { Keyring } from "@hypernode/engine/keys/Keyring"
import { Leases } from "@hypernode/engine/keys/Leases"
import type { PayoutOutbox } from "@hypernode/engine/rewards/payouts/PayoutOutbox"
import { Runner } from "@hypernode/engine/run/Runner"
import { RunStore } from "@hypernode/engine/run/RunStore"
import { Fence } from "@hypernode/engine/store/Fence"
import { Watcher } from "@hypernode/engine/watch/Watcher"
import { Cause, Deferred, Duration, Effect, Exit, Fiber } from "effect"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { daemonFileOf, failureFileOf, makeHome, socketOf } from "../client/Daemon.ts"
import { TENANT } from "../tenant.ts"
import { version } from "../version.ts"
import { Activity } from "./Activity.ts"
import { daemonLayer } from "./layers.ts"
import { ownerRoutes } from "./ownerRoutes.ts"
import { makePacks } from "./packing.ts"
import { payoutRoutes } from "./payoutRoutes.ts"
import { payUnattended } from "./payouts.ts"
import { reconcileEndpoints } from "./reconcileEndpoints.ts"
import { warmUp } from "./warmUp.ts"
import { watchRoute } from "./watchRoute.ts"

/** Leaves after so long without a run, a request or a held port. */
const IDLE_MILLIS = Number(process.env["HYPER_DAEMON_IDLE_SECONDS"] ?? 300) * 1_000

/** Idle for so long, nobody minds some seconds of a low-priority process. */
const PACK_AFTER_MILLIS = 10_000

const serving = (home: Home) => Effect.gen(function*() {
  const context = yield* Effect.context<Engine | AuthStore | Endpoints | Keyring | PayoutOutbox | Secrets | RunStore | Watcher>()
  const store = yield* RunStore
  const activity = new Activity()
  const stop = yield* Deferred.make<void>()

  yield* (yield* Leases).restore
  const recovered = yield* (yield* Runner).recover
  if (recovered > 0) yield* Effect.logInfo(`${recovered} unfinished runs go on`)
  yield* Effect.forkScoped(reconcileEndpoints(TENANT))
  yield* Effect.forkScoped(payUnattended(home.root))
  yield* Effect.forkScoped((yield* Watcher).recover)

  // the fence is ours by now, so this file is: whoever finds the socket open finds it written
  writeFileSync(daemonFileOf(home), JSON.stringify({ pid: process.pid, version, socket: socketOf(home) }), { mode: 0o600 })
  rmSync(failureFileOf(home), { force: true })
  yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(daemonFileOf(home), { force: true })))

  const owner = ownerRoutes(context, activity, stop).route("/api/v1/daemon/payouts", payoutRoutes(context, home.root)).route("/", watchRoute(context, activity))
  const api = yield* makeApp({ access: { mode: "owner", tenant: TENANT, by: "owner" } })
  yield* listenUnix(
    {
      fetch: async (request) => {
        activity.touch()
        activity.requests++
        let open = true
        const done = () => {
          if (!open) return
          open = false
          activity.requests--
          activity.touch()
        }
        try {
          const { pathname } = new URL(request.url)
          const response = await (pathname === "/api/v1/daemon" || pathname.startsWith("/api/v1/daemon/") ? owner : api).fetch(request)
          if (response.body === null) {
            done()
            return response
          }
          // a stream is somebody who watches: over when it was read to its end, or when the reader went away
          request.signal.addEventListener("abort", done, { once: true })
          return new Response(response.body.pipeThrough(new TransformStream({ flush: done })), response)
        } catch (error) {
          done()
          throw error
        }
      }
    },
    socketOf(home)
  )

  const packWhenIdle = Effect.gen(function*() {
    do yield* Effect.sleep(Duration.seconds(2))
    while (activity.idleMillis(Date.now()) < PACK_AFTER_MILLIS || (yield* store.unfinished).length > 0)
    yield* Effect.promise((signal) => makePacks(home.cache, signal))
  })
  yield* Effect.forkScoped(packWhenIdle)

  const leaveWhenIdle = Effect.gen(function*() {
    for (;;) {
      yield* Effect.sleep(Duration.seconds(2))
      if (activity.idleMillis(Date.now()) < IDLE_MILLIS) continue
      if ((yield* store.unfinished).length === 0) return yield* Effect.logInfo("nothing left to do: leaving")
    }
  })
  const fenced = (yield* Fence).lost.pipe(Effect.andThen(Effect.logError("another daemon took this home's database over: leaving")))
  yield* Effect.raceFirst(Effect.raceFirst(Deferred.await(stop), fenced), leaveWhenIdle)
})

/** Beside the layers: the database's start is another process's work. */
const warming = Effect.promise((signal) => warmUp(process.cwd(), signal))

/** Ends this process when it is over. */
export const daemon = async (home: Home): Promise<never> => {
  makeHome(home)
  mkdirSync(home.sockets, { recursive: true, mode: 0o700 })
  const everything = Effect.scoped(Effect.andThen(Effect.forkScoped(warming), serving(home).pipe(Effect.provide(daemonLayer(home)))))
  const fiber = Effect.runFork(everything)
  const interrupt = () => Effect.runFork(Fiber.interrupt(fiber))
  process.on("SIGTERM", interrupt).on("SIGINT", interrupt)

  const exit = await Effect.runPromise(Fiber.await(fiber))
  if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) {
    const error = Cause.squash(exit.cause) as { readonly message?: string; readonly remedy?: string }
    process.stderr.write(`${Cause.pretty(exit.cause)}\n`)
    try {
      writeFileSync(failureFileOf(home), JSON.stringify({ pid: process.pid, message: error.message ?? String(error), ...(error.remedy === undefined ? {} : { remedy: error.remedy }) }), { mode: 0o600 })
    } catch {}
    process.exit(1)
  }
  process.exit(0)
}
