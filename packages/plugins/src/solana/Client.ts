/**
 * The only file that knows the words of Solana's RPC. @solana/kit is loaded by `openClient`, so planning never pays for it.
 * Accounts are read at commitment `confirmed`; what decides about money, at `finalized`.
 */
import { PayoutError } from "@hypernode/engine/rewards/payouts/PayoutError"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Address, Base64EncodedWireTransaction, Blockhash, TransactionError } from "@solana/kit"

export interface AccountView {
  /** the program that owns it */
  readonly owner: string
  readonly lamports: bigint
  readonly data: Uint8Array
  readonly executable: boolean
}

export interface LatestBlockhash {
  readonly blockhash: Blockhash
  readonly lastValidBlockHeight: bigint
  /** of the answer: the transaction cannot have landed before */
  readonly slot: bigint
}

/** What one node says of a signature, and from where it looks: everything in here is of one node. */
export interface SignatureView {
  /** slot and height of the newest finalized block, of one and the same bank */
  readonly finalized: { readonly slot: number; readonly blockHeight: number }
  /** of the bank that the signature was looked up in */
  readonly viewSlot: number
  /** the oldest slot that the node still knows */
  readonly firstSlot: number
  readonly found: undefined | { readonly commitment: "processed" | "confirmed" | "finalized"; readonly error: string | undefined }
}

const Look = Schema.Tuple([
  Schema.Struct({ absoluteSlot: Schema.Int, blockHeight: Schema.Int }),
  Schema.Struct({
    context: Schema.Struct({ slot: Schema.Int }),
    value: Schema.Tuple([Schema.NullOr(Schema.Struct({ confirmationStatus: Schema.NullOr(Schema.Literals(["processed", "confirmed", "finalized"])), err: Schema.Json }))])
  }),
  Schema.Int
])
const Answers = Schema.Array(Schema.Struct({ id: Schema.Int, result: Schema.optionalKey(Schema.Json), error: Schema.optionalKey(Schema.Struct({ code: Schema.Int })) }))

/** A transaction error in one line; the network's own names. */
export const errorWords = (error: unknown): string => JSON.stringify(error, (_key, value: unknown) => (typeof value === "bigint" ? value.toString() : value))

/** A JSON-RPC error by its code, or something of the node's that must be another. */
class Refusal extends Error {
  readonly code: number
  constructor(code: number) {
    super()
    this.code = code
  }
}

const NO_BATCH = 1
/** What a node lacks without which nothing may be sent through it: whether a payment can still land could never be told. */
const lacking: Readonly<Record<number, string>> = {
  [NO_BATCH]: "does not answer JSON-RPC batches",
  [-32011]: "keeps no transaction history"
}

/** No transaction's: asks whether a node can be asked. */
const NO_SIGNATURE = "1".repeat(64)

export const openClient = (rpcUrl: Redacted.Redacted<string>, timeout: number) =>
  Effect.promise(() => import("@solana/kit")).pipe(Effect.map((kit) => {
    const transport = kit.createDefaultRpcTransport({ url: Redacted.value(rpcUrl) })
    const rpc = kit.createSolanaRpcFromTransport(transport)
    const host = new URL(Redacted.value(rpcUrl)).host

    /** No message of the transport: it may quote the address, and with it a key. */
    const ask = <A>(method: string, send: (options: { readonly abortSignal: AbortSignal }) => Promise<A>): Effect.Effect<A, PayoutError> =>
      Effect.tryPromise({
        try: (signal) => send({ abortSignal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]) }),
        catch: (cause) => {
          const status = kit.isSolanaError(cause, kit.SOLANA_ERROR__RPC__TRANSPORT_HTTP_ERROR) ? cause.context.statusCode : undefined
          const code = cause instanceof Refusal ? cause.code : kit.isSolanaError(cause) && cause.context.__code < 0 ? cause.context.__code : undefined
          const lack = code === undefined ? undefined : lacking[code]
          if (lack !== undefined) return new PayoutError({ reason: "Refused", message: `The Solana node ${host} ${lack}: it could never be told whether a payment can still land`, remedy: "Name a node that does as rpc in solana.json." })
          const what = status !== undefined ? `answered ${status}` : code !== undefined ? `refused (${code})` : (cause as Error).name === "TimeoutError" ? `did not answer within ${timeout} ms` : "could not be asked"
          const remedy = status === 401 || status === 403 ? "Check the API key in rpc in solana.json." : status === 429 ? "The node limits requests: use one of your own or a paid one." : "It is tried again; check rpc in solana.json if it stays so."
          return new PayoutError({ reason: "Unavailable", message: `The Solana node ${host} ${what} (${method})`, remedy })
        }
      })

    const client = {
      kit,
      host,
      genesisHash: ask("getGenesisHash", (options) => rpc.getGenesisHash().send(options)),
      accounts: (addresses: ReadonlyArray<Address>): Effect.Effect<ReadonlyArray<AccountView | undefined>, PayoutError> =>
        ask("getMultipleAccounts", (options) => rpc.getMultipleAccounts(addresses, { encoding: "base64", commitment: "confirmed" }).send(options)).pipe(
          Effect.map(({ value }) => value.map((account) => account === null ? undefined : {
            owner: account.owner,
            lamports: account.lamports,
            data: Buffer.from(account.data[0], "base64"),
            executable: account.executable
          }))
        ),
      /** Lamports that keep an account of so many bytes alive. */
      rentFor: (bytes: bigint) => ask("getMinimumBalanceForRentExemption", (options) => rpc.getMinimumBalanceForRentExemption(bytes).send(options)),
      latestBlockhash: ask("getLatestBlockhash", (options) => rpc.getLatestBlockhash({ commitment: "confirmed" }).send(options)).pipe(
        Effect.map(({ context, value }): LatestBlockhash => ({ ...value, slot: context.slot }))
      ),
      /** Undefined where it would be carried out. */
      simulate: (transaction: Base64EncodedWireTransaction): Effect.Effect<TransactionError | undefined, PayoutError> =>
        ask("simulateTransaction", (options) => rpc.simulateTransaction(transaction, { encoding: "base64", commitment: "confirmed", sigVerify: true }).send(options)).pipe(
          Effect.map(({ value }) => value.err ?? undefined)
        ),
      /** No preflight (it was simulated when it was signed, and a second delivery would fail it), no retries by the node: the outbox retries. */
      send: (transaction: string) =>
        ask("sendTransaction", (options) => rpc.sendTransaction(transaction as Base64EncodedWireTransaction, { encoding: "base64", skipPreflight: true, maxRetries: 0n }).send(options)),
      /**
       * Three questions in one HTTP request (a JSON-RPC batch), because behind one address there may be many nodes: what one remembers
       * says nothing about another that has forgotten, or lags. Searches the node's whole history; a node that keeps none refuses, it
       * does not say "not found".
       */
      look: (signature: string): Effect.Effect<SignatureView, PayoutError> => {
        const batch = [
          { jsonrpc: "2.0", id: 0, method: "getEpochInfo", params: [{ commitment: "finalized" }] },
          { jsonrpc: "2.0", id: 1, method: "getSignatureStatuses", params: [[signature], { searchTransactionHistory: true }] },
          { jsonrpc: "2.0", id: 2, method: "getFirstAvailableBlock" }
        ]
        const method = batch.map((one) => one.method).join(", ")
        return ask(method, async ({ abortSignal }) => {
          const response: unknown = await transport({ payload: batch, signal: abortSignal })
          if (typeof response === "object" && !Array.isArray(response)) throw new Refusal(NO_BATCH)
          const answers = Schema.decodeUnknownSync(Answers)(response)
          const results = batch.map(({ id }) => answers.find((answer) => answer.id === id))
          const refused = results.find((answer) => answer?.error !== undefined)?.error
          if (refused !== undefined) throw new Refusal(refused.code)
          const [info, status, firstSlot] = Schema.decodeUnknownSync(Look)(results.map((answer) => answer?.result))
          const [found] = status.value
          return {
            finalized: { slot: info.absoluteSlot, blockHeight: info.blockHeight },
            viewSlot: status.context.slot,
            firstSlot,
            found: found === null ? undefined : { commitment: found.confirmationStatus ?? "processed", error: found.err === null ? undefined : errorWords(found.err) }
          }
        })
      }
    }
    return { ...client, check: Effect.asVoid(client.look(NO_SIGNATURE)) }
  }))

export type SolanaClient = Effect.Success<ReturnType<typeof openClient>>
