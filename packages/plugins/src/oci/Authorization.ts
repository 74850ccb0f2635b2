/**
 * The `Authorization` header of a registry's requests: Basic (RFC 7617), or Bearer with a token that the registry's token server gives
 * for a scope (distribution: docs/spec/auth/token.md and oauth.md). Answers a challenge; a token is asked for again before it runs out.
 */
import { type Challenge, parseChallenges } from "./Challenge.ts"
import type { Credentials } from "./Credentials.ts"
import { drained, exchange, textOf } from "./exchange.ts"
import { isLoopback } from "./Reference.ts"
import { RegistryFault } from "./RegistryFault.ts"

/** What the specification says of a token that does not say it itself, and how much of it is left unused. */
const DEFAULT_SECONDS = 60
const MARGIN_SECONDS = 10
const ANSWER_LIMIT = 1 << 20

interface Token {
  readonly value: string
  /** milliseconds of Date.now */
  readonly until: number
}

interface TokenServer {
  readonly realm: URL
  readonly service: string | undefined
}

export class Authorization {
  readonly #credentials: Credentials | undefined
  readonly #registry: { readonly plainHttp: boolean; readonly insecure: boolean }
  readonly #tokens = new Map<string, Token>()
  #scheme: "none" | "basic" | "bearer" = "none"
  #server: TokenServer | undefined

  /** `plainHttp`: the registry is spoken to unencrypted, on this machine or (`insecure`) because the user said so. */
  constructor(credentials: Credentials | undefined, registry: { readonly plainHttp: boolean; readonly insecure: boolean }) {
    this.#credentials = credentials
    this.#registry = registry
  }

  get #basic(): string | undefined {
    const { password, username } = this.#credentials ?? { username: "", password: "" }
    return password === "" ? undefined : `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`
  }

  async header(scopes: ReadonlyArray<string>, signal: AbortSignal): Promise<string | undefined> {
    if (this.#scheme === "basic") return this.#basic
    if (this.#scheme === "none") return undefined
    const key = scopes.join(" ")
    const known = this.#tokens.get(key)
    const token = known !== undefined && known.until > Date.now() ? known : await this.#ask(scopes, signal)
    this.#tokens.set(key, token)
    return `Bearer ${token.value}`
  }

  /** Learns from a 401 what is wanted. False: nothing that was not tried, so the refusal stands. */
  learn(header: string | undefined, scopes: ReadonlyArray<string>, sent: string | undefined): boolean {
    const challenges = parseChallenges(header ?? "")
    const bearer = challenges.find(({ scheme }) => scheme === "bearer")
    if (bearer?.parameters["realm"] !== undefined) {
      this.#tokens.delete(scopes.join(" ")) // one that was refused is not shown again
      this.#server = this.#serverOf(bearer)
      this.#scheme = "bearer"
      return true
    }
    if (challenges.some(({ scheme }) => scheme === "basic") && this.#basic !== undefined && sent === undefined) {
      this.#scheme = "basic"
      return true
    }
    return false
  }

  /** `text` without anything that opens a door, in the forms in which an answer could repeat it. */
  redact(text: string): string {
    const { identityToken, password } = this.#credentials ?? {}
    const secrets = [password, identityToken, this.#basic?.slice("Basic ".length), ...[...this.#tokens.values()].map(({ value }) => value)].filter((secret) => secret !== undefined && secret !== "")
    return secrets
      .flatMap((secret) => [secret!, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret!)])
      .reduce((clean, secret) => clean.replaceAll(secret, "***"), text)
  }

  #serverOf({ parameters }: Challenge): TokenServer {
    if (!URL.canParse(parameters["realm"]!)) throw new RegistryFault("sends to a token server without a usable address")
    const realm = new URL(parameters["realm"]!)
    const { insecure, plainHttp } = this.#registry
    const safe = realm.protocol === "https:" || (realm.protocol === "http:" && (insecure || (plainHttp && isLoopback(realm.host))))
    if (!safe || realm.username !== "" || realm.password !== "") throw new RegistryFault(`sends to a token server that is not encrypted (${realm.protocol}//${realm.host})`, { code: "UNENCRYPTED" })
    return { realm, service: parameters["service"] }
  }

  async #ask(scopes: ReadonlyArray<string>, signal: AbortSignal): Promise<Token> {
    const { realm, service } = this.#server!
    const refresh = this.#credentials?.identityToken
    const url = new URL(realm)
    const form = new URLSearchParams(refresh === undefined ? {} : { grant_type: "refresh_token", client_id: "hypernode", refresh_token: refresh, scope: scopes.join(" ") })
    if (service !== undefined) (refresh === undefined ? url.searchParams : form).set("service", service)
    if (refresh === undefined) for (const scope of scopes) url.searchParams.append("scope", scope)
    const basic = this.#basic
    const answer = await exchange(
      refresh === undefined
        ? { method: "GET", url, headers: basic === undefined ? {} : { authorization: basic }, signal }
        : { method: "POST", url, headers: { "content-type": "application/x-www-form-urlencoded" }, body: form.toString(), signal }
    ).catch((error: Error) => {
      throw Object.assign(error, { at: realm.host }) // whoever tells of it must name the right host
    })
    if (answer.status !== 200) {
      await drained(answer.body)
      throw new RegistryFault(`its token server ${realm.host} answers HTTP ${answer.status}`, { status: answer.status === 400 ? 401 : answer.status, code: "TOKEN" })
    }
    const { bytes } = await textOf(answer.body, ANSWER_LIMIT)
    let given: { readonly token?: unknown; readonly access_token?: unknown; readonly expires_in?: unknown } = {}
    try {
      given = JSON.parse(bytes.toString("utf8")) as typeof given
    } catch {
      // said below: a text without a token
    }
    const value = given.token ?? given.access_token
    if (typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value)) throw new RegistryFault(`its token server ${realm.host} gives no token`)
    const seconds = typeof given.expires_in === "number" && given.expires_in > 0 ? given.expires_in : DEFAULT_SECONDS
    return { value, until: Date.now() + Math.max(1, seconds - MARGIN_SECONDS) * 1000 }
  }
}
