/** Everything that can be known wrong before a payment is signed, each with its remedy, from one reading of the accounts. */
import { DECIMALS, formatExact } from "@hypernode/engine/rewards/amount"
import { PayoutError } from "@hypernode/engine/rewards/payouts/PayoutError"
import * as Effect from "effect/Effect"
import type { Address } from "@solana/kit"
import type { AccountView, SolanaClient } from "./Client.ts"
import { type Programs, tokenAccountOf } from "./transferTransaction.ts"

const SYSTEM_PROGRAM = "11111111111111111111111111111111"
const TOKEN_2022_PROGRAM = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"
/** Lamports a signature costs. */
const FEE = 5_000n

const refused = (message: string, remedy: string): PayoutError => new PayoutError({ reason: "Refused", message, remedy })
/** 1 SOL = 10^9 lamports. */
const sol = (lamports: bigint): string => `${formatExact(lamports).replace(" HYPER", "")} SOL`

/** A wallet's address: base58 of 32 bytes on the curve. A token account or another program's address is off it: nobody holds its key. */
export const parseAddress = ({ kit }: Programs, text: string, what: string): Effect.Effect<Address, PayoutError> => {
  if (!kit.isAddress(text)) return Effect.fail(refused(`${JSON.stringify(text.slice(0, 60))} is not a Solana address (${what})`, "It is base58 of 32 bytes, as solana address or a wallet shows it."))
  return Effect.succeed(text)
}

export const parseWallet = (programs: Programs, text: string): Effect.Effect<Address, PayoutError> =>
  parseAddress(programs, text, "a node's wallet").pipe(
    Effect.flatMap((address) => programs.kit.isOffCurveAddress(address)
      ? Effect.fail(refused(`${address} is no wallet: nobody can hold its key (a token account, or a program's address)`, "Register the wallet's own address; its token account is found, or made, from it."))
      : Effect.succeed(address))
  )

/** Fails unless `mint` is an SPL token mint with the ledger's decimals. */
export const checkMint = ({ token }: Programs, mint: Address, account: AccountView | undefined, host: string): Effect.Effect<void, PayoutError> => {
  const remedy = "Check mint and rpc in solana.json: the mint must exist on that network."
  if (account === undefined) return Effect.fail(refused(`The mint ${mint} does not exist on the network of ${host}`, remedy))
  if (account.owner === TOKEN_2022_PROGRAM) return Effect.fail(refused(`The mint ${mint} belongs to Token-2022`, "Only mints of the SPL token program are paid out; its extensions (fees, hooks) would change what arrives."))
  if (account.owner !== token.TOKEN_PROGRAM_ADDRESS || account.data.length !== token.getMintSize()) return Effect.fail(refused(`${mint} is not a token mint (its owner is ${account.owner})`, remedy))
  const { decimals, isInitialized } = token.getMintDecoder().decode(account.data)
  if (!isInitialized) return Effect.fail(refused(`The mint ${mint} is not initialised`, remedy))
  if (decimals !== DECIMALS) return Effect.fail(refused(`The mint ${mint} has ${decimals} decimals, the ledger has ${DECIMALS}: amounts would be wrong by 10^${Math.abs(DECIMALS - decimals)}`, `Name a mint with ${DECIMALS} decimals as mint in solana.json.`))
  return Effect.void
}

export interface Parties {
  readonly payer: Address
  /** the payer's token account */
  readonly treasury: Address
  readonly mint: Address
  readonly recipient: Address
}

/** Fails where a payment of `units` could not be carried out, or should not be. */
export const inspect = Effect.fn("solana.inspect")(function*(client: SolanaClient, programs: Programs, { mint, payer, recipient, treasury }: Parties, units: bigint): Effect.fn.Return<{ readonly destination: Address; readonly makesAccount: boolean }, PayoutError> {
  const { token } = programs
  if (recipient === payer || recipient === mint) return yield* refused(`${recipient} is ${recipient === payer ? "the paying wallet" : "the mint"} itself`, "Register the wallet of the node's owner.")
  const destination = yield* Effect.promise(() => tokenAccountOf(programs, recipient, mint))
  const [mintAccount, payerAccount, treasuryAccount, recipientAccount, destinationAccount] = yield* client.accounts([mint, payer, treasury, recipient, destination])
  yield* checkMint(programs, mint, mintAccount, client.host)

  if (recipientAccount !== undefined && (recipientAccount.executable || recipientAccount.owner !== SYSTEM_PROGRAM)) {
    return yield* refused(`${recipient} is not a wallet: it belongs to the program ${recipientAccount.owner}`, "Register the wallet of the node's owner.")
  }
  // somebody may have sent SOL to an address where no token account is yet: then it is made there as anywhere
  const tokenAccount = (account: AccountView | undefined) => account?.owner === token.TOKEN_PROGRAM_ADDRESS && account.data.length === token.getTokenSize() ? token.getTokenDecoder().decode(account.data) : undefined
  const there = tokenAccount(destinationAccount)
  const makesAccount = there === undefined
  if (there !== undefined) {
    const { owner, state } = there
    if (owner !== recipient) return yield* refused(`The token account ${destination} of ${recipient} was handed over to ${owner}`, "Register another wallet.")
    if (state === token.AccountState.Frozen) return yield* refused(`The token account ${destination} of ${recipient} is frozen`, "Its mint's freeze authority must thaw it; or register another wallet.")
  }
  if (units === 0n) return { destination, makesAccount }

  const needed = FEE + (makesAccount ? yield* client.rentFor(BigInt(token.getTokenSize())) : 0n)
  if ((payerAccount?.lamports ?? 0n) < needed) {
    return yield* refused(`The paying wallet ${payer} has ${sol(payerAccount?.lamports ?? 0n)}; fee${makesAccount ? " and the recipient's token account" : ""} take ${sol(needed)}`, `Send SOL to ${payer}.`)
  }
  const held = tokenAccount(treasuryAccount)
  if ((held?.amount ?? 0n) < units) {
    return yield* refused(`The paying wallet ${payer} holds ${formatExact(held?.amount ?? 0n)} of mint ${mint}; the payout is ${formatExact(units)}`, `Send the token to ${payer} (its token account is ${treasury}).`)
  }
  if (held?.state === token.AccountState.Frozen) return yield* refused(`The paying token account ${treasury} is frozen`, "Its mint's freeze authority must thaw it.")
  return { destination, makesAccount }
})
