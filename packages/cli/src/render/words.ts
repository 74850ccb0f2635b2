/** Numbers and states as a person reads them: `1,952`, `61 %`, `1 m 52 s`, `13.8 GB`, `$0.99`. */
export const count = (n: number): string => n.toLocaleString("en-US")

export const percent = (fraction: number): string => `${Math.floor(fraction * 100)} %`

export const duration = (milliseconds: number): string => {
  const seconds = milliseconds / 1000
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} m`
}

export const bytes = (n: number): string => {
  const units = ["B", "kB", "MB", "GB", "TB"]
  let value = n
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

export const dollars = (n: number): string => (n > 0 && n < 0.01 ? `$${n.toFixed(4)}` : `$${n.toFixed(2)}`)

/** Base units (10^9 per HYPER) to three decimals. */
export const hyper = (units: string): string => {
  const value = BigInt(units)
  const thousandths = value / 1_000_000n
  return `${count(Number(thousandths / 1000n))}.${String(thousandths % 1000n).padStart(3, "0")}`
}

export const shortDigest = (digest: string): string => {
  const hex = digest.replace("sha256:", "")
  return `${hex.slice(0, 4)}…${hex.slice(-4)}`
}
