/**
 * A small chain around litesvm: the token, associated token and memo programs are the real ones, executed; what is ours is the life of a
 * block: heights, slots (some are skipped), blockhashes that expire, commitment that follows with a delay, and payments that land late,
 * twice, on a fork that loses, or never. Shorter than the real one (30 blocks instead of 150) so that tests reach its edges.
 */
import { createHash } from "node:crypto"
import { type Address, type Blockhash, type Transaction, getAddressDecoder, getBase58Decoder, getBase58Encoder, getBase64Encoder, getCompiledTransactionMessageDecoder, getSignatureFromTransaction, getTransactionDecoder } from "@solana/kit"
import { SUPPORTED_MEMO_PROGRAM_ADDRESSES } from "@solana-program/memo"
import { FailedTransactionMetadata, LiteSVM } from "litesvm"

export const LIFETIME = 30
export const FINAL_AFTER = 8
const CONFIRMED_AFTER = 2

export interface Executed {
  readonly signature: string
  readonly height: number
  readonly error: unknown
  readonly memos: ReadonlyArray<string>
}

interface Travelling {
  readonly transaction: Transaction
  readonly signature: string
  readonly at: number
}

/** Names by number: the enum of litesvm's declarations, which has no value at run time. */
const errorNames = ["AccountInUse", "AccountLoadedTwice", "AccountNotFound", "ProgramAccountNotFound", "InsufficientFundsForFee", "InvalidAccountForFee", "AlreadyProcessed", "BlockhashNotFound"]

/** As the RPC writes it. */
export const errorOf = (failed: FailedTransactionMetadata): unknown => {
  const error = failed.err()
  if (typeof error === "number") return errorNames[error] ?? `Error${error}`
  if ("index" in error && "err" in error) {
    const inner = error.err() as number | { readonly code?: number }
    return { InstructionError: [error.index, typeof inner === "object" ? { Custom: inner.code } : inner === 5 ? "InsufficientFunds" : `Error${inner}`] }
  }
  return String(error)
}

const memosOf = (transaction: Transaction): ReadonlyArray<string> => {
  const { instructions, staticAccounts } = getCompiledTransactionMessageDecoder().decode(transaction.messageBytes) as unknown as {
    readonly staticAccounts: ReadonlyArray<Address>
    readonly instructions: ReadonlyArray<{ readonly programAddressIndex: number; readonly data?: Uint8Array }>
  }
  return instructions.flatMap(({ data, programAddressIndex }) => (SUPPORTED_MEMO_PROGRAM_ADDRESSES as ReadonlyArray<string>).includes(staticAccounts[programAddressIndex] ?? "") ? [Buffer.from(data ?? []).toString("utf8")] : [])
}

export class Chain {
  readonly svm = new LiteSVM().withBlockhashCheck(false).withTransactionHistory(1_000_000n)
  readonly genesis: string
  readonly executed: Array<Executed> = []
  readonly #status = new Map<string, Executed>()
  readonly #births = new Map<string, number>()
  readonly #slots: Array<number> = []
  readonly #forks = new Map<string, { readonly from: number; readonly to: number }>()
  #travelling: Array<Travelling> = []

  constructor(name = "chain") {
    this.genesis = getBase58Decoder().decode(createHash("sha256").update(name).digest())
    this.#block()
    this.advance(60)
  }

  get height(): number {
    return this.#slots.length - 1
  }
  slotAt(height: number): number {
    return this.#slots[Math.max(0, height)] ?? 0
  }
  blockhashAt(height: number): Blockhash {
    return getBase58Decoder().decode(createHash("sha256").update(`${this.genesis}/${Math.max(0, height)}`).digest()) as Blockhash
  }

  #block(): void {
    const height = this.#slots.length
    this.#slots.push((this.#slots[height - 1] ?? 1000) + (height % 7 === 0 ? 2 : 1))
    this.#births.set(this.blockhashAt(height), height)
    const now = this.#travelling.filter(({ at }) => at <= height)
    this.#travelling = this.#travelling.filter(({ at }) => at > height)
    for (const { signature, transaction } of now) this.#execute(signature, transaction, height)
  }

  #execute(signature: string, transaction: Transaction, height: number): void {
    if (this.#status.has(signature) || !this.#alive(transaction, height)) return
    const result = this.svm.sendTransaction(transaction)
    const failed = result instanceof FailedTransactionMetadata
    const error = failed ? errorOf(result) : null
    if (typeof error === "string") return // no bank takes it: nothing is recorded, no fee is paid
    const executed = { signature, height, error, memos: memosOf(transaction) }
    this.#status.set(signature, executed)
    this.executed.push(executed)
  }

  #alive(transaction: Transaction, height: number): boolean {
    const { lifetimeToken } = getCompiledTransactionMessageDecoder().decode(transaction.messageBytes) as { readonly lifetimeToken: string }
    const born = this.#births.get(lifetimeToken)
    return born !== undefined && height <= born + LIFETIME
  }

  advance(blocks: number): void {
    for (let i = 0; i < blocks; i++) this.#block()
  }

  /** Each copy lands `delays` blocks from now, if it still may. */
  submit(wire: string, delays: ReadonlyArray<number>, fork = 0): string {
    const transaction = getTransactionDecoder().decode(getBase64Encoder().encode(wire))
    const signature = getSignatureFromTransaction(transaction)
    for (const delay of delays) this.#travelling.push({ transaction, signature, at: this.height + Math.max(1, delay) })
    if (fork > 0) this.#forks.set(signature, { from: this.height + 1, to: this.height + fork })
    return signature
  }

  simulate(wire: string, height: number): unknown {
    const transaction = getTransactionDecoder().decode(getBase64Encoder().encode(wire))
    if (!this.#alive(transaction, height)) return "BlockhashNotFound"
    const result = this.svm.simulateTransaction(transaction)
    return result instanceof FailedTransactionMetadata ? errorOf(result) : null
  }

  /** As a node sees it whose newest block is `height`, and which knows the last `history` blocks. */
  status(signature: string, height: number, history: number): { readonly slot: number; readonly commitment: "processed" | "confirmed" | "finalized"; readonly error: unknown } | undefined {
    const found = this.#status.get(signature)
    if (found !== undefined && found.height <= height) {
      if (found.height < height - history) return undefined
      const depth = height - found.height
      return { slot: this.slotAt(found.height), commitment: depth >= FINAL_AFTER ? "finalized" : depth >= CONFIRMED_AFTER ? "confirmed" : "processed", error: found.error }
    }
    const fork = this.#forks.get(signature)
    return fork !== undefined && height >= fork.from && height <= fork.to ? { slot: this.slotAt(fork.from), commitment: "processed", error: null } : undefined
  }
  static confirmed(height: number): number {
    return height - CONFIRMED_AFTER
  }
}

export const addressOf = (bytes: Uint8Array): Address => getAddressDecoder().decode(bytes)
export const bytesOf = (address: string): Uint8Array => Uint8Array.from(getBase58Encoder().encode(address))
