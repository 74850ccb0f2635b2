/** HYPER amounts: text to integer base units and back. Pure, bigint, no rounding on the way in. */

/** 1 HYPER = 10^9 base units. */
export const DECIMALS = 9
export const UNITS_PER_HYPER = 10n ** BigInt(DECIMALS)

/** The text is no amount; `message` says what is wrong with it. */
export class AmountFault extends Error {
  override readonly name = "AmountFault"
}

/** `"100 HYPER"`, `"0.5 HYPER"`, `"1,000 HYPER"` → base units. Throws AmountFault. */
export const parseAmount = (text: string): bigint => {
  const found = /^\s*(?<whole>\d{1,3}(?:,\d{3})+|\d+)(?:\.(?<fraction>\d+))?\s+HYPER\s*$/.exec(text)
  if (found?.groups === undefined) throw new AmountFault(`${JSON.stringify(text)} is no amount: write a number and the unit, for example "100 HYPER" or "0.5 HYPER"`)
  const { fraction = "", whole = "" } = found.groups
  if (fraction.length > DECIMALS) throw new AmountFault(`${JSON.stringify(text)} has ${fraction.length} decimals; HYPER has ${DECIMALS}`)
  return BigInt(whole.replaceAll(",", "")) * UNITS_PER_HYPER + BigInt(fraction.padEnd(DECIMALS, "0"))
}

const grouped = (whole: bigint): string => whole.toString().replaceAll(/\B(?=(\d{3})+$)/g, ",")

/** Decimal text with `places` decimals at most, rounded towards zero so that never more is shown than there is; zeros at the end go. */
const decimal = (units: bigint, places: number): string => {
  const positive = units < 0n ? -units : units
  const fraction = (positive % UNITS_PER_HYPER).toString().padStart(DECIMALS, "0").slice(0, places).replace(/0+$/, "")
  return `${units < 0n ? "-" : ""}${grouped(positive / UNITS_PER_HYPER)}${fraction === "" ? "" : `.${fraction}`}`
}

/** For people: `30.643`, three decimals at most, no unit. */
export const formatAmount = (units: bigint): string => decimal(units, 3)

/** All nine decimals and the unit: `30.643000001 HYPER`; `parseAmount` reads it back. */
export const formatExact = (units: bigint): string => `${decimal(units, DECIMALS)} HYPER`
