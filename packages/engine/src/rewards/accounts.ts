/** Names of ledger accounts. */

/** The only account that may be below zero: what it lacks is what was issued. */
export const ISSUANCE = "issuance"

/** Memo of the entry that gives a tenant its first balance while no chain is connected. */
export const ISSUANCE_MEMO = "local test issuance: not money"

/** Base units a tenant is issued on first use: 1,000,000 HYPER. */
export const FIRST_ISSUANCE = 1_000_000n * 10n ** 9n

export const ownerAccount = (tenant: string): string => `owner:${tenant}`
export const escrowAccount = (runId: string, stepId: string): string => `escrow:${runId}/${stepId}`
/** Accrued, inside the challenge window: the node's stake. */
export const lockedAccount = (node: string): string => `node:${node}:locked`
export const availableAccount = (node: string): string => `node:${node}:available`
/** Held for a payout that is on its way: debited from available when prepared, emptied when it is confirmed or given back. */
export const payingAccount = (node: string): string => `node:${node}:paying`
/** What left for the node's own wallet. */
export const paidAccount = (node: string): string => `node:${node}:paid`
