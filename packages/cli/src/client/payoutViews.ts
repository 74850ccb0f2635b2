/** What the daemon says of payouts. Amounts are base units as decimal text; times are epoch milliseconds. */
export interface PayoutView {
  readonly id: string
  readonly node: string
  readonly rail: string
  readonly network: string
  readonly token: string
  readonly address: string
  readonly units: string
  readonly state: "prepared" | "signed" | "confirmed" | "abandoned"
  readonly reason: string | null
  /** the newest payment's signature */
  readonly transaction: string | null
  readonly createdAt: number
  readonly updatedAt: number
}

export interface AddressView {
  readonly node: string
  readonly rail: string
  readonly address: string
  readonly sequence: number
  readonly at: number
}

export interface DueView {
  readonly node: string
  readonly address: string
  readonly units: string
}

export interface PayoutsView {
  readonly payouts: ReadonlyArray<PayoutView>
  readonly due: ReadonlyArray<DueView>
  readonly addresses: ReadonlyArray<AddressView>
  /** null where this home pays nothing on Solana */
  readonly settings: { readonly mint: string; readonly perPayout: string; readonly perDay: string } | null
}

export interface RefusalView {
  readonly node: string
  readonly payout?: string
  readonly message: string
  readonly remedy?: string
}

export interface PayoutReportView {
  readonly payouts: ReadonlyArray<PayoutView>
  readonly refused: ReadonlyArray<RefusalView>
}

export interface RehearsalView {
  readonly due: ReadonlyArray<DueView & { readonly note: string }>
  readonly refused: ReadonlyArray<RefusalView>
}
