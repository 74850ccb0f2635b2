/**
 * One payout as one transaction: the recipient's associated token account if it is not there, TransferChecked (the program itself
 * refuses another mint or other decimals), and a memo with the payout's id. All of it happens, or nothing.
 */
import type { Address, KeyPairSigner } from "@solana/kit"
import type { LatestBlockhash } from "./Client.ts"

export const MEMO_PREFIX = "hyper-payout:"

export interface Transfer {
  readonly payer: KeyPairSigner
  readonly mint: Address
  readonly decimals: number
  readonly recipient: Address
  /** the payer's token account, and the recipient's */
  readonly source: Address
  readonly destination: Address
  readonly units: bigint
  readonly id: string
}

export const loadPrograms = async () => {
  const [kit, token, memo] = await Promise.all([import("@solana/kit"), import("@solana-program/token"), import("@solana-program/memo")])
  return { kit, token, memo }
}
export type Programs = Awaited<ReturnType<typeof loadPrograms>>

export const tokenAccountOf = async ({ token }: Programs, owner: Address, mint: Address): Promise<Address> =>
  (await token.findAssociatedTokenPda({ owner, mint, tokenProgram: token.TOKEN_PROGRAM_ADDRESS }))[0]

/** Signed; base64 of the wire format, and the signature that names it. */
export const signTransfer = async ({ kit, memo, token }: Programs, { decimals, destination, id, mint, payer, recipient, source, units }: Transfer, lifetime: LatestBlockhash) => {
  const message = kit.pipe(
    kit.createTransactionMessage({ version: 0 }),
    (empty) => kit.setTransactionMessageFeePayerSigner(payer, empty),
    (paid) => kit.setTransactionMessageLifetimeUsingBlockhash(lifetime, paid),
    (dated) => kit.appendTransactionMessageInstructions([
      token.getCreateAssociatedTokenIdempotentInstruction({ payer, ata: destination, owner: recipient, mint }),
      token.getTransferCheckedInstruction({ source, mint, destination, authority: payer, amount: units, decimals }),
      // the package's default is the fourth program, which is not everywhere yet (a transaction that names it is refused there): the third is
      memo.getAddMemoInstruction({ memo: `${MEMO_PREFIX}${id}`, signers: [payer] }, { programAddress: memo.LEGACY_MEMO_PROGRAM_ADDRESS_V3 })
    ], dated)
  )
  const transaction = await kit.signTransactionMessageWithSigners(message)
  return { signature: kit.getSignatureFromTransaction(transaction), bytes: kit.getBase64EncodedWireTransaction(transaction) }
}
