/** Payouts over the home's own socket: they spend the operator's tokens, so no API key reaches them. */
import { PayoutError } from "@hypernode/engine/rewards/payouts/PayoutError"
import { payOut, rehearse } from "@hypernode/engine/rewards/payouts/payOut"
import { type Payout, PayoutOutbox } from "@hypernode/engine/rewards/payouts/PayoutOutbox"
import { Keyring } from "@hypernode/engine/keys/Keyring"
import { Context, Effect, Result } from "effect"
import { type Context as HonoContext, Hono } from "hono"
import type { AddressView, PayoutReportView, PayoutsView, PayoutView, RehearsalView } from "../client/payoutViews.ts"
import { solanaPayouts } from "./payouts.ts"

const RAIL = "solana"

const viewOf = (payout: Payout): PayoutView => ({
  id: payout.id,
  node: payout.node,
  rail: payout.rail,
  network: payout.network,
  token: payout.token,
  address: payout.address,
  units: payout.units.toString(),
  state: payout.state,
  reason: payout.reason ?? null,
  transaction: payout.payment?.reference ?? null,
  createdAt: payout.createdAt,
  updatedAt: payout.updatedAt
})

const status = { Refused: 409, NotFound: 404, Unavailable: 503 } as const

export const payoutRoutes = (context: Context.Context<PayoutOutbox | Keyring>, home: string): Hono => {
  const app = new Hono()
  const outbox = Context.get(context, PayoutOutbox)
  const keyring = Context.get(context, Keyring)
  const answer = async <A extends object>(c: HonoContext, effect: Effect.Effect<A, PayoutError, PayoutOutbox>): Promise<Response> => {
    const result = await Effect.runPromiseWith(context)(Effect.result(effect))
    if (Result.isSuccess(result)) return c.json(result.success)
    const { message, reason, remedy } = result.failure
    return c.json({ error: { code: `payout_${reason.toLowerCase()}`, message, ...(remedy === undefined ? {} : { remedy }), requestId: "" } }, status[reason])
  }

  app.get("/", (c) => answer(c, Effect.gen(function*() {
    const settings = yield* (yield* solanaPayouts).readSettings(home)
    return {
      payouts: (yield* outbox.list(200)).map(viewOf),
      due: (yield* outbox.due(RAIL)).map((due) => ({ ...due, units: due.units.toString() })),
      addresses: yield* outbox.addresses,
      settings: settings === undefined ? null : { mint: settings.mint, perPayout: settings.limits.perPayout.toString(), perDay: settings.limits.perDay.toString() }
    } satisfies PayoutsView
  })))

  app.post("/", async (c) => {
    const { dryRun, patience } = await c.req.json<{ dryRun: boolean; patience: number }>()
    if (dryRun) {
      return answer(c, Effect.gen(function*() {
        const { due, refused } = yield* rehearse(yield* (yield* solanaPayouts).openRail(home))
        return { due: due.map((one) => ({ ...one, units: one.units.toString() })), refused } satisfies RehearsalView
      }))
    }
    return answer(c, Effect.gen(function*() {
      const { payouts, refused } = yield* payOut(yield* (yield* solanaPayouts).openRail(home), patience)
      return { payouts: payouts.map(viewOf), refused } satisfies PayoutReportView
    }))
  })

  /** `node`: `this`, or the beginning of this machine's node key: the private half must be here to sign. */
  app.post("/address", async (c) => {
    const { address, node } = await c.req.json<{ node: string; address: string }>()
    return answer(c, Effect.gen(function*() {
      const unavailable = (error: { readonly message: string }) => new PayoutError({ reason: "Unavailable", message: error.message })
      const mine = yield* Effect.mapError(keyring.publicKey("node"), unavailable)
      if (node !== "this" && (node.length < 4 || !mine.startsWith(node))) {
        return yield* new PayoutError({ reason: "Refused", message: `${node} is not the node of this machine (${mine})`, remedy: "A node's wallet is registered on its own machine, whose key signs it: hyper rewards address this ADDRESS" })
      }
      const { checkWallet, openRail, readSettings } = yield* solanaPayouts
      yield* checkWallet(address)
      // with settings, the network is asked too: is it a wallet, could it receive the token
      if ((yield* readSettings(home)) !== undefined) yield* (yield* openRail(home)).checkAddress(address)
      const registered = yield* outbox.register(mine, RAIL, address, (bytes) => Effect.mapError(keyring.sign("node", bytes), unavailable))
      return registered satisfies AddressView
    }))
  })

  app.post("/:id/abandon", (c) => answer(c, Effect.map(outbox.abandon(c.req.param("id")), viewOf)))

  return app
}
