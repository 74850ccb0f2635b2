/** A token server as docker-registry trusts one (distribution: docs/spec/auth/token.md, jwt.md): checks basic credentials or a refresh token, signs what it grants with ES256. */
import { execFileSync } from "node:child_process"
import { createPrivateKey, sign, X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { PASSWORD, USER } from "./registryServer.ts"

export const ISSUER = "test-issuer"
export const SERVICE = "test-registry"
export const REFRESH = "refresh-token-of-the-tests"

export interface Certificate {
  /** PEM files */
  readonly certificate: string
  readonly key: string
}

/** Self-signed, for 127.0.0.1. */
export const makeCertificate = (directory: string): Certificate => {
  const [certificate, key] = [join(directory, "cert.pem"), join(directory, "key.pem")]
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"], { stdio: "ignore" })
  return { certificate, key }
}

export interface TokenServer {
  readonly realm: string
  readonly requests: Array<{ readonly method: string; readonly scopes: ReadonlyArray<string>; readonly authorization: string | undefined; readonly body: string }>
  /** what is given in answer to `pull,push` */
  grants: "all" | "pull"
  /** seconds, as the answer says them */
  expiresIn: number
  /** every token that was given */
  readonly tokens: Array<string>
  readonly close: () => Promise<void>
}

const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url")

export const startTokenServer = async ({ certificate, key }: Certificate): Promise<TokenServer> => {
  const x5c = [new X509Certificate(readFileSync(certificate)).raw.toString("base64")]
  const secret = createPrivateKey(readFileSync(key))
  const tokenFor = (scopes: ReadonlyArray<string>): string => {
    const access = scopes.map((scope) => {
      const [type, name, actions = ""] = scope.split(":")
      return { type, name, actions: server.grants === "all" ? actions.split(",") : ["pull"] }
    })
    const now = Math.floor(Date.now() / 1000)
    const signed = `${base64({ typ: "JWT", alg: "ES256", x5c })}.${base64({ iss: ISSUER, aud: SERVICE, sub: USER, exp: now + 300, nbf: now - 10, iat: now, jti: String(server.tokens.length), access })}`
    return `${signed}.${sign("sha256", Buffer.from(signed), { key: secret, dsaEncoding: "ieee-p1363" }).toString("base64url")}`
  }
  const http = createServer(async (request, response) => {
    const url = new URL(request.url ?? "/", "http://token")
    let body = ""
    for await (const chunk of request) body += chunk
    const form = new URLSearchParams(body)
    const scopes = request.method === "POST" ? (form.get("scope") ?? "").split(" ") : url.searchParams.getAll("scope")
    server.requests.push({ method: request.method ?? "", scopes, authorization: request.headers.authorization, body })
    const known = request.method === "POST" ? form.get("refresh_token") === REFRESH : request.headers.authorization === `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString("base64")}`
    if (!known) return void response.writeHead(401).end(JSON.stringify({ details: request.headers.authorization ?? body }))
    const token = tokenFor(scopes)
    server.tokens.push(token)
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ [request.method === "POST" ? "access_token" : "token"]: token, expires_in: server.expiresIn }))
  })
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve))
  const server: TokenServer = {
    realm: `http://127.0.0.1:${(http.address() as AddressInfo).port}/token`,
    requests: [],
    grants: "all",
    expiresIn: 300,
    tokens: [],
    close: async () => {
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    }
  }
  return server
}
