/** A mint, a treasury that pays, its key file, and nodes that something is due to. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { availableAccount, ISSUANCE } from "@hypernode/engine/rewards/accounts"
import { PayoutOutbox } from "@hypernode/engine/rewards/payouts/PayoutOutbox"
import { openAccount, transfer } from "@hypernode/engine/rewards/transfer"
import { nodeIdOf } from "@hypernode/engine/telemetry/batch"
import { getCreateAccountInstruction } from "@solana-program/system"
import * as token from "@solana-program/token"
import { type Address, appendTransactionMessageInstructions, createKeyPairSignerFromBytes, createTransactionMessage, generateKeyPairSigner, type Instruction, type KeyPairSigner, lamports, pipe, setTransactionMessageFeePayerSigner, setTransactionMessageLifetimeUsingBlockhash, signTransactionMessageWithSigners } from "@solana/kit"
import * as Effect from "effect/Effect"
import { FailedTransactionMetadata } from "litesvm"
import { Chain } from "./Chain.ts"
import { RpcServer } from "./RpcServer.ts"

export const HYPER = 10n ** 9n

export interface World {
  readonly chain: Chain
  readonly server: RpcServer
  readonly payer: KeyPairSigner
  readonly mint: Address
  /** a home with solana.json and payer.json */
  readonly home: string
  readonly run: (instructions: ReadonlyArray<Instruction>) => Promise<void>
  readonly makeMint: (decimals: number, freezable?: boolean) => Promise<Address>
  readonly settings: (changes?: Record<string, unknown>) => void
  readonly balanceOf: (owner: Address) => Promise<bigint>
  readonly stop: () => Promise<void>
}

/** 64 bytes as solana-keygen writes them: seed, then public key. */
export const newKey = (): Uint8Array => {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519")
  const raw = (key: KeyObject, type: "pkcs8" | "spki") => key.export({ format: "der", type: type as "spki" }).subarray(-32)
  return Uint8Array.from([...raw(privateKey, "pkcs8"), ...raw(publicKey, "spki")])
}

export const makeWorld = async (name = "chain"): Promise<World> => {
  const chain = new Chain(name)
  const server = await new RpcServer(chain).start()
  const home = mkdtempSync(join(tmpdir(), "hs-"))
  const bytes = newKey()
  const payer = await createKeyPairSignerFromBytes(bytes)
  writeFileSync(join(home, "payer.json"), JSON.stringify([...bytes]), { mode: 0o600 })
  chain.svm.airdrop(payer.address, lamports(1_000n * HYPER))
  const run = async (instructions: ReadonlyArray<Instruction>): Promise<void> => {
    chain.advance(1)
    const message = pipe(
      createTransactionMessage({ version: 0 }),
      (m) => setTransactionMessageFeePayerSigner(payer, m),
      (m) => setTransactionMessageLifetimeUsingBlockhash({ blockhash: chain.blockhashAt(chain.height), lastValidBlockHeight: 0n }, m),
      (m) => appendTransactionMessageInstructions(instructions, m)
    )
    const result = chain.svm.sendTransaction(await signTransactionMessageWithSigners(message))
    if (result instanceof FailedTransactionMetadata) throw new Error(result.toString())
  }
  const makeMint = async (decimals: number, freezable = false): Promise<Address> => {
    const mint = await generateKeyPairSigner()
    const space = BigInt(token.getMintSize())
    const [treasury] = await token.findAssociatedTokenPda({ owner: payer.address, mint: mint.address, tokenProgram: token.TOKEN_PROGRAM_ADDRESS })
    await run([
      getCreateAccountInstruction({ payer, newAccount: mint, lamports: chain.svm.minimumBalanceForRentExemption(space), space, programAddress: token.TOKEN_PROGRAM_ADDRESS }),
      token.getInitializeMintInstruction({ mint: mint.address, decimals, mintAuthority: payer.address, freezeAuthority: freezable ? payer.address : null }),
      token.getCreateAssociatedTokenIdempotentInstruction({ payer, ata: treasury, owner: payer.address, mint: mint.address }),
      token.getMintToInstruction({ mint: mint.address, token: treasury, mintAuthority: payer, amount: 1_000_000n * HYPER })
    ])
    return mint.address
  }
  const mint = await makeMint(9, true)
  const settings = (changes: Record<string, unknown> = {}) => {
    rmSync(join(home, "solana.json"), { force: true })
    writeFileSync(join(home, "solana.json"), JSON.stringify({ rpc: server.url, mint, keyFile: "payer.json", limits: { perPayout: "100000 HYPER", perDay: "100000000 HYPER" }, ...changes }), { mode: 0o600 })
  }
  settings()
  return {
    chain, server, payer, mint, home, run, makeMint, settings,
    balanceOf: async (owner) => {
      const [address] = await token.findAssociatedTokenPda({ owner, mint, tokenProgram: token.TOKEN_PROGRAM_ADDRESS })
      const account = chain.svm.getAccount(address)
      return account.exists ? token.getTokenDecoder().decode(account.data).amount : 0n
    },
    stop: async () => {
      await server.stop()
      rmSync(home, { recursive: true, force: true })
    }
  }
}

export interface Payee {
  readonly node: string
  readonly wallet: Address
  readonly owed: bigint
}

/** A node with its key, a registered wallet, and `owed` available to it. */
export const payee = Effect.fnUntraced(function*(owed: bigint, address?: string) {
  const { privateKey } = generateKeyPairSync("ed25519")
  const node = nodeIdOf(privateKey)
  const wallet = (address ?? (yield* Effect.promise(() => generateKeyPairSigner())).address) as Address
  yield* PayoutOutbox.use((outbox) => outbox.register(node, "solana", wallet, (bytes) => Effect.succeed(sign(null, bytes, privateKey).toString("base64"))))
  yield* due(node, owed)
  return { node, wallet, owed } satisfies Payee
})

/** Makes `units` available to the node. */
export const due = Effect.fnUntraced(function*(node: string, units: bigint) {
  yield* openAccount(availableAccount(node), "default", "available")
  yield* transfer({ effectKey: `test:${node}/${Math.random()}`, debit: ISSUANCE, credit: availableAccount(node), units, memo: "test" })
})
