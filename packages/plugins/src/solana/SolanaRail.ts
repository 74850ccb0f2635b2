/**
 * HYPER as an SPL token, pushed by TransferChecked.
 *
 * A payment may be signed anew only when the one before it can never land. That takes three things, and each alone is a way to pay
 * twice:
 *
 * 1. the *finalized* block height is beyond the payment's last valid one. A height of lower commitment may be rolled back, and the
 *    payment land on the other fork;
 * 2. the signature is not found, in history too, from a view that reaches at least the slot of that height. The height alone says
 *    nothing (the payment may have landed in time, unseen), and a view that is older does not know yet what has landed;
 * 3. that node's history reaches back to the slot in which the payment was signed. A node that prunes says "not found" of what it has
 *    forgotten.
 *
 * All three must come from one node, so they are asked in one request (`Client.look`): behind one address there are many, of which one
 * lags, one forgets, and one is ahead. Asked one by one, the schedules of the tests did pay twice. A proxy that splits a batch over
 * nodes would undo that; within about two minutes of signing (300 slots) even then nothing is lost, as every node remembers so far.
 *
 * Everything else is doubt: the same bytes are sent again, which the network takes at most once.
 */
import { DECIMALS, formatExact } from "@hypernode/engine/rewards/amount"
import { PayoutError } from "@hypernode/engine/rewards/payouts/PayoutError"
import type { Fate, PaymentOrder, PayoutRail, SignedPayment } from "@hypernode/engine/rewards/payouts/PayoutRail"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { errorWords, openClient, type SolanaClient } from "./Client.ts"
import { checkMint, inspect, parseAddress, parseWallet } from "./inspect.ts"
import { readKey, type Settings } from "./Settings.ts"
import { loadPrograms, signTransfer, tokenAccountOf } from "./transferTransaction.ts"

export interface Timing {
  /** milliseconds that one request may take */
  readonly timeout: number
  /** milliseconds between two looks */
  readonly pause: number
}

interface Expiry {
  readonly lastValidBlockHeight: number
  /** the payment cannot have landed before */
  readonly slot: number
}

const pending = (detail: string, resend = true): Fate => ({ _tag: "Pending", detail, resend })

/** See above. */
export const fateOf = Effect.fn("solana.fate")(function*(client: Pick<SolanaClient, "look">, { expiry, reference }: Pick<SignedPayment, "expiry" | "reference">): Effect.fn.Return<Fate, PayoutError> {
  const { lastValidBlockHeight, slot } = JSON.parse(expiry) as Expiry
  const { finalized, firstSlot, found, viewSlot } = yield* client.look(reference)
  if (found?.commitment === "finalized") return found.error === undefined ? { _tag: "Landed" } : { _tag: "Failed", detail: `the network did not carry it out: ${found.error}` }
  // `processed` may be a fork that loses
  if (found !== undefined) return pending(`seen by the network (${found.commitment}), not final yet`, found.commitment === "processed")
  if (finalized.blockHeight <= lastValidBlockHeight) return pending("sent, not seen by the network yet")
  if (viewSlot < finalized.slot) return pending("it seems to have expired, but was looked up in an older block than that")
  if (firstSlot > slot) return pending("it has expired, but the node no longer knows whether it landed before: name one with a longer history as rpc in solana.json", false)
  return { _tag: "Expired" }
})

/** Connects, and refuses a wrong mint, wrong decimals, an unreadable key or a node that knows too little before anything is held. */
export const solanaRail = Effect.fn("solana.rail")(function*(settings: Settings, timing: Timing = { timeout: 20_000, pause: 2_000 }): Effect.fn.Return<PayoutRail, PayoutError> {
  const secret = yield* readKey(settings.keyFile)
  const programs = yield* Effect.promise(loadPrograms)
  const payer = yield* Effect.tryPromise({
    try: () => programs.kit.createKeyPairSignerFromBytes(Redacted.value(secret)),
    catch: () => new PayoutError({ reason: "Refused", message: `${settings.keyFile} is not a key file: its public half does not belong to its private half`, remedy: "Restore it from a copy, or make a new one with solana-keygen new." })
  })
  const mint = yield* parseAddress(programs, settings.mint, "mint in solana.json")
  const client = yield* openClient(settings.rpc, timing.timeout)
  yield* client.check
  const network = yield* client.genesisHash
  const [mintAccount] = yield* client.accounts([mint])
  yield* checkMint(programs, mint, mintAccount, client.host)

  const treasury = yield* Effect.promise(() => tokenAccountOf(programs, payer.address, mint))
  const prepare = Effect.fnUntraced(function*({ address, id, units }: PaymentOrder) {
    const recipient = yield* parseWallet(programs, address)
    const { destination, makesAccount } = yield* inspect(client, programs, { payer: payer.address, treasury, mint, recipient }, units)
    const lifetime = yield* client.latestBlockhash
    const signed = yield* Effect.tryPromise({
      try: () => signTransfer(programs, { payer, mint, decimals: DECIMALS, recipient, source: treasury, destination, units, id }, lifetime),
      // the cause may be anything of the library's: a name, no data
      catch: (cause) => new PayoutError({ reason: "Refused", message: `The payment could not be made up (${(cause as Error).name})`, remedy: "Nothing was sent. This is a fault of hyper's: report it with the payout's id." })
    })
    const error = yield* client.simulate(signed.bytes)
    // a node that has not heard of the blockhash yet lags; anything else would be paid for and not carried out
    if (error === "BlockhashNotFound") return yield* new PayoutError({ reason: "Unavailable", message: `The Solana node ${client.host} lags behind: it does not know the newest blockhash` })
    if (error !== undefined) return yield* new PayoutError({ reason: "Refused", message: `The network would refuse the payment: ${errorWords(error)}`, remedy: "Nothing was sent. Look the error up under Solana's TransactionError, or ask the mint's owner." })
    return { signed, lifetime, makesAccount }
  })

  return {
    id: "solana",
    network,
    token: mint,
    limits: settings.limits,
    pause: timing.pause,
    checkAddress: (address) => parseWallet(programs, address).pipe(
      Effect.flatMap((recipient) => inspect(client, programs, { payer: payer.address, treasury, mint, recipient }, 0n)),
      Effect.asVoid
    ),
    simulate: (order) => Effect.map(prepare(order), ({ makesAccount }) => `${formatExact(order.units)} to ${order.address}${makesAccount ? ", whose token account is made" : ""}`),
    sign: (order) => Effect.map(prepare(order), ({ lifetime, signed }): SignedPayment => ({
      reference: signed.signature,
      bytes: signed.bytes,
      expiry: JSON.stringify({ lastValidBlockHeight: Number(lifetime.lastValidBlockHeight), slot: Number(lifetime.slot) } satisfies Expiry)
    })),
    send: (payment) => Effect.asVoid(client.send(payment.bytes)),
    fate: (payment) => fateOf(client, payment)
  }
})
