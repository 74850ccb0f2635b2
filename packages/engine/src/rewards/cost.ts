/** What a run costs so far, from the device time that its work samples report. Pure; integers in millionths of a dollar. */

export interface DevicePrice {
  /** as the trainer reports it: `cpu`, or `cuda:<name>` */
  readonly deviceClass: string
  /** micro-dollars per device-second */
  readonly microdollars: bigint
}

/**
 * The list price: $0.05 an hour for a CPU worker, $2.00 an hour for any GPU without a price of its own. An assumption of this
 * installation, shown as one: nobody is billed by it.
 */
export const listPrices = { cpu: 14n, gpu: 556n } as const

export const isCpu = (deviceClass: string): boolean => /^cpu\b/i.test(deviceClass)

export const priceOf = (deviceClass: string, own: ReadonlyArray<DevicePrice> = []): DevicePrice =>
  own.find((price) => price.deviceClass === deviceClass) ?? { deviceClass, microdollars: isCpu(deviceClass) ? listPrices.cpu : listPrices.gpu }

export interface Cost {
  readonly deviceMilliseconds: number
  readonly microdollars: bigint
  readonly dollars: number
}

/** Duplicates are the caller's to remove (the telemetry store has none). Samples without work cost nothing. */
export const costOf = (samples: Iterable<{ readonly workMilliseconds?: number }>, deviceClass: string, own?: ReadonlyArray<DevicePrice>): Cost => {
  let deviceMilliseconds = 0
  for (const { workMilliseconds = 0 } of samples) deviceMilliseconds += workMilliseconds
  const microdollars = (BigInt(deviceMilliseconds) * priceOf(deviceClass, own).microdollars) / 1000n
  return { deviceMilliseconds, microdollars, dollars: Number(microdollars) / 1e6 }
}

/** `$0.0042`, `$1.23`: enough digits to see that it moves. */
export const formatDollars = (microdollars: bigint): string => {
  const dollars = Number(microdollars) / 1e6
  return `$${dollars.toFixed(dollars === 0 || dollars >= 1 ? 2 : dollars >= 0.01 ? 3 : 4)}`
}
