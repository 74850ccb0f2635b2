/** Numbers and times as people read them: `1,952`, `61 %`, `1 m 52 s`, `13.8 GB`, `$0.99`, `30.643`. */

const grouped = new Intl.NumberFormat("en-US")
export const count = (value: number): string => grouped.format(Math.round(value))

export const percent = (share: number): string => `${Math.floor(share * 100)} %`

/** Milliseconds. */
export const duration = (millis: number): string => {
  const seconds = Math.max(0, Math.round(millis / 1000))
  if (millis > 0 && millis < 950) return millis < 95 ? `${Math.max(1, Math.round(millis))} ms` : `${(millis / 1000).toFixed(1)} s`
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} m ${seconds % 60} s`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} h ${minutes % 60} m` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

export const bytes = (value: number): string => {
  if (value < 1000) return `${value} B`
  const units = ["kB", "MB", "GB", "TB"]
  let size = value
  let unit = -1
  do {
    size /= 1000
    unit += 1
  } while (size >= 999.5 && unit < units.length - 1)
  return `${size < 100 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`
}

/** Four decimals under a cent. */
export const dollars = (value: number): string => (value !== 0 && Math.abs(value) < 0.01 ? `$${value.toFixed(4)}` : `$${value.toFixed(2)}`)

const BASE_UNITS = 1_000_000_000n

/** Base units (a decimal string) as HYPER to three decimals, rounded down: nobody is shown more than there is. */
export const hyper = (units: string): string => {
  const value = BigInt(units)
  const sign = value < 0n ? "-" : ""
  const size = value < 0n ? -value : value
  const whole = size / BASE_UNITS
  const thousandths = (size % BASE_UNITS) / 1_000_000n
  return `${sign}${grouped.format(whole)}${thousandths === 0n && whole > 0n ? "" : `.${thousandths.toString().padStart(3, "0")}`}`
}

/** 2.2 M, 135 M, 4.0 B */
export const parameters = (value: number): string =>
  value >= 1e9 ? `${(value / 1e9).toFixed(1)} B` : value >= 1e7 ? `${Math.round(value / 1e6)} M` : value >= 1e6 ? `${(value / 1e6).toFixed(1)} M` : count(value)

export const loss = (value: number): string => value.toFixed(3)

/** 9.4e-5 */
export const rate = (value: number): string => (value === 0 ? "0" : value.toExponential(1).replace("e-0", "e-").replace(".0e", "e"))

const two = (value: number): string => String(value).padStart(2, "0")

/** 14:31:20, local */
export const clock = (at: number): string => {
  const date = new Date(at)
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

export const clockMinute = (at: number): string => clock(at).slice(0, 5)

/** 24 Nov 14:48, local */
export const day = (at: number): string => `${new Date(at).toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${clockMinute(at)}`

export const utc = (at: number): string => `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`

/** sha256:4c1e…a07d → 4c1e…a07d */
export const shortDigest = (digest: string): string => {
  const hex = digest.replace(/^sha256:/, "")
  return hex.length > 12 ? `${hex.slice(0, 4)}…${hex.slice(-4)}` : hex
}

/** What a person tells runs apart by. */
export const shortId = (id: string): string => {
  const bare = id.replace(/^run[_-]/, "")
  return bare.length > 8 ? bare.slice(0, 8) : bare
}
