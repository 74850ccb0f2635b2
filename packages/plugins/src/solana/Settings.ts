/**
 * What the operator of a home decides about payouts on Solana: `<home>/solana.json`, mode 0600 because an RPC address may carry an API
 * key. No pipeline can change it: who writes pipelines does not spend the treasury.
 */
import { KeyFileFault, readKeyFile } from "@hypernode/engine/keys/keyFile"
import { parseAmount } from "@hypernode/engine/rewards/amount"
import { PayoutError } from "@hypernode/engine/rewards/payouts/PayoutError"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { homedir } from "node:os"
import { basename, dirname, join, resolve } from "node:path"

export const SETTINGS_FILE = "solana.json"

const EXAMPLE = `{ "rpc": "https://api.devnet.solana.com", "mint": "<the HYPER mint>", "keyFile": "~/.config/solana/hyper-payer.json", "limits": { "perPayout": "1000 HYPER", "perDay": "10000 HYPER" } }`

export const settingsHint = (home: string): string => `Write ${join(home, SETTINGS_FILE)} (chmod 600), for example ${EXAMPLE}`

const Amount = Schema.String.check(Schema.makeFilter((text: string) => {
  try {
    return parseAmount(text) > 0n ? undefined : "a limit is more than nothing"
  } catch (fault) {
    return (fault as Error).message
  }
}))

const LOOPBACK = new Set(["127.0.0.1", "localhost", "[::1]"])

const Rpc = Schema.String.check(Schema.makeFilter((text: string) => {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) return "rpc is an https:// address"
  return url.protocol === "http:" && !LOOPBACK.has(url.hostname) ? "rpc must be https://, or on this machine: what it answers decides whether money is sent again" : undefined
}))

const File = Schema.Struct({
  rpc: Rpc,
  mint: Schema.String,
  /** of the key that pays, as `solana-keygen` writes it: a JSON array of 64 numbers. `~/` is the user's home; else relative to the hyper home */
  keyFile: Schema.String,
  limits: Schema.Struct({ perPayout: Amount, perDay: Amount })
})

export interface Settings {
  readonly rpc: Redacted.Redacted<string>
  readonly mint: string
  readonly keyFile: string
  /** base units */
  readonly limits: { readonly perPayout: bigint; readonly perDay: bigint }
}

const refused = (message: string, remedy?: string): PayoutError => new PayoutError({ reason: "Refused", message, ...(remedy === undefined ? {} : { remedy }) })

/** Why a file was not read, never what is in it. */
const reading = (path: string): Effect.Effect<string | undefined, PayoutError> =>
  Effect.tryPromise({
    try: () => readKeyFile(dirname(path), basename(path)),
    catch: (cause) => refused(cause instanceof KeyFileFault ? cause.message : `${path} cannot be read (${String((cause as { code?: string }).code ?? "unknown")})`, "It must be a file of yours with mode 600.")
  })

/** Undefined where the home has no settings: then nothing is paid on Solana. */
export const readSettings = Effect.fn("solana.readSettings")(function*(home: string): Effect.fn.Return<Settings | undefined, PayoutError> {
  const path = join(home, SETTINGS_FILE)
  const text = yield* reading(path)
  if (text === undefined) return undefined
  const json = yield* Effect.try({ try: () => JSON.parse(text) as unknown, catch: () => refused(`${path} is not JSON`, settingsHint(home)) })
  const decoded = Schema.decodeUnknownResult(File, { onExcessProperty: "error" })(json)
  if (Result.isFailure(decoded)) return yield* refused(`${path}: ${faultOf(json)}`, settingsHint(home))
  const { keyFile, limits, mint, rpc } = decoded.success
  return {
    rpc: Redacted.make(rpc),
    mint,
    keyFile: keyFile.startsWith("~/") ? join(homedir(), keyFile.slice(2)) : resolve(home, keyFile),
    limits: { perPayout: parseAmount(limits.perPayout), perDay: parseAmount(limits.perDay) }
  }
})

/** In our own words: a schema's would quote the RPC address. */
const faultOf = (json: unknown): string => {
  const value = (typeof json === "object" && json !== null ? json : {}) as Record<string, unknown>
  const unknown = Object.keys(value).filter((name) => !Object.hasOwn(File.fields, name))
  if (unknown.length > 0) return `unknown setting ${unknown.join(", ")}`
  if (typeof value["rpc"] !== "string" || !Schema.is(Rpc)(value["rpc"])) return "rpc must be an https:// address, or one on this machine"
  if (typeof value["mint"] !== "string") return "mint is missing: the address of the token's mint"
  if (typeof value["keyFile"] !== "string") return "keyFile is missing: the file of the key that pays"
  return "limits must be { perPayout, perDay }, amounts such as \"1000 HYPER\""
}

/** The 64 bytes of the paying key. */
export const readKey = Effect.fn("solana.readKey")(function*(path: string): Effect.fn.Return<Redacted.Redacted<Uint8Array>, PayoutError> {
  const text = yield* reading(path)
  if (text === undefined) return yield* refused(`There is no key file ${path}`, "Make one with solana-keygen new, mode 600, and name it as keyFile in solana.json.")
  const bytes = yield* Effect.try({ try: () => JSON.parse(text) as unknown, catch: () => refused(`${path} is not a key file`, "It must be what solana-keygen writes: a JSON array of 64 numbers.") })
  if (!Array.isArray(bytes) || bytes.length !== 64 || !bytes.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255)) {
    return yield* refused(`${path} is not a key file`, "It must be what solana-keygen writes: a JSON array of 64 numbers.")
  }
  return Redacted.make(Uint8Array.from(bytes as Array<number>))
})
