import { connect } from "node:net"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { makeRateLimit } from "../src/auth/RateLimit.ts"
import { someForm } from "./TestEngine.ts"
import { startServer, type TestServer } from "./server.ts"

let server: TestServer
beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.close())

/** A request with headers that fetch refuses to send (Host). */
const raw = (port: number, lines: ReadonlyArray<string>, body = ""): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.end(`${[...lines, "Connection: close", `Content-Length: ${Buffer.byteLength(body)}`].join("\r\n")}\r\n\r\n${body}`))
    let text = ""
    socket.on("data", (data) => (text += data))
    socket.on("end", () => resolve(text))
    socket.on("error", reject)
  })

describe("login", () => {
  it("lets nobody in without a session or a key, and says how to get one", async () => {
    for (const path of ["/api/v1/runs", "/api/v1/me", "/api/list_models", "/api/user_dashboard", "/api/get_job_status?job_id=x", "/api/v1/runs/latest/stream"]) {
      const answer = await server.anonymous("GET", path)
      expect(answer.status, path).toBe(401)
      expect(answer.json.error.code).toBe("login_needed")
      expect(answer.json.error.remedy).toContain("hyper serve --login")
      expect(answer.headers.get("x-request-id")).toBe(answer.json.error.requestId)
    }
    expect((await server.anonymous("POST", "/api/deploy_model", someForm)).status).toBe(401)
  })

  it("takes a link once; a second use, a made-up and an expired one say how to print another", async () => {
    const link = await server.loginLink("acme")
    const token = link.split("#")[1]!
    const first = await server.anonymous("POST", "/api/v1/login", { token })
    expect(first.status).toBe(200)
    const cookie = first.headers.get("set-cookie")!
    expect(cookie).toMatch(/HttpOnly/)
    expect(cookie).toMatch(/SameSite=Strict/)
    for (const bad of [token, `hyl_${"A".repeat(43)}`, "", "x".repeat(10_000)]) {
      const answer = await server.anonymous("POST", "/api/v1/login", { token: bad })
      expect(answer.status).toBe(401)
      expect(answer.json.error.remedy).toContain("hyper serve --login")
      expect(answer.headers.get("set-cookie")).toBeNull()
    }
  })

  it("two requests with one link open one session", async () => {
    const other = await startServer()
    try {
      const token = (await other.loginLink("acme")).split("#")[1]!
      const answers = await Promise.all([1, 2, 3, 4].map(() => other.anonymous("POST", "/api/v1/login", { token })))
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401, 401])
    } finally {
      await other.close()
    }
  })

  it("limits attempts, and says how long to wait", async () => {
    const other = await startServer()
    try {
      const statuses: Array<number> = []
      for (let i = 0; i < 12; i++) statuses.push((await other.anonymous("POST", "/api/v1/login", { token: "hyl_wrong" })).status)
      expect(statuses.slice(0, 10)).toEqual(Array(10).fill(401))
      expect(statuses.slice(10)).toEqual([429, 429])
      const refused = await other.anonymous("POST", "/api/v1/login", { token: "hyl_wrong" })
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0)
    } finally {
      await other.close()
    }
  })

  it("the window passes", () => {
    let now = 0
    const limit = makeRateLimit({ attempts: 2, windowMillis: 1_000, now: () => now })
    limit.wrong("a")
    expect(limit.wait("a")).toBe(0)
    limit.wrong("a")
    expect([limit.wait("a"), limit.wait("b")]).toEqual([1, 0])
    now = 1_000
    expect(limit.wait("a")).toBe(0)
  })

  it("logs out", async () => {
    const me = await server.as("acme")
    expect((await me("GET", "/api/v1/me")).status).toBe(200)
    expect((await me("POST", "/api/v1/logout")).status).toBe(200)
    expect((await me("GET", "/api/v1/me")).status).toBe(401)
  })
})

describe("cross-site and rebinding", () => {
  it("refuses an unsafe request that rides on a cookie from another site", async () => {
    const cookie = await server.login("acme")
    const send = (headers: Record<string, string>) => fetch(`${server.url}/api/deploy_model`, { method: "POST", headers: { cookie, "content-type": "application/json", ...headers }, body: JSON.stringify(someForm) })
    const before = server.engine.calls.length
    for (const headers of [{ origin: "https://evil.example" }, { origin: "null" }, {} as Record<string, string>, { origin: server.url.replace(/:\d+$/, ":1") }]) {
      const answer = await send(headers)
      expect(answer.status, JSON.stringify(headers)).toBe(403)
      expect(((await answer.json()) as any).error.code).toBe("cross_site")
    }
    expect(server.engine.calls.length).toBe(before)
    // The same request from our own page passes: the check looks at the origin, not at the weather.
    expect((await send({ origin: server.url })).status).toBe(200)
    expect(server.engine.calls.length).toBe(before + 1)
  })

  it("answers only under loopback names, whoever asks", async () => {
    const cookie = await server.login("acme")
    const port = Number(new URL(server.url).port)
    for (const host of ["evil.example", `evil.example:${port}`, "127.0.0.1.evil.example", "localhost.evil.example"]) {
      for (const path of ["/api/v1/me", "/", "/login"]) expect(await raw(port, [`GET ${path} HTTP/1.1`, `Host: ${host}`, `Cookie: ${cookie}`]), `${host}${path}`).toMatch(/^HTTP\/1.1 421 /)
    }
    expect(await raw(port, ["GET /api/v1/me HTTP/1.1", `Host: 127.0.0.1:${port}`, `Cookie: ${cookie}`])).toMatch(/^HTTP\/1.1 200 /)
  })

  it("keeps strict headers on everything, errors and streams too", async () => {
    const me = await server.as("acme")
    for (const path of ["/", "/api/v1/me", "/api/v1/nothing", "/nothing.js"]) {
      const { headers } = await me("GET", path)
      expect(headers.get("content-security-policy"), path).toMatch(/default-src 'none'; script-src 'self'; style-src 'self'/)
      expect(headers.get("content-security-policy")).not.toMatch(/unsafe/)
      expect(headers.get("x-content-type-options")).toBe("nosniff")
      expect(headers.get("x-frame-options")).toBe("DENY")
    }
  })
})

describe("API keys", () => {
  it("carry scopes: reading does not write, writing does not administer", async () => {
    const reader = await server.withKey("acme", ["read"])
    expect((await reader("GET", "/api/v1/runs")).status).toBe(200)
    const refused = await reader("POST", "/api/deploy_model", someForm)
    expect(refused.status).toBe(403)
    expect(refused.json.error.message).toContain(`"write"`)
    expect((await reader("POST", "/api/v1/endpoints/x/chat", { messages: [] })).status).toBe(403)
    const writer = await server.withKey("acme", ["read", "write"])
    expect((await writer("POST", "/api/deploy_model", someForm)).status).toBe(200)
    expect((await writer("POST", "/api/v1/keys", { name: "more", scopes: ["admin"] })).status).toBe(403)
    expect((await writer("POST", "/api/v1/login-links")).status).toBe(403)
    const blind = await server.withKey("acme", ["write"])
    expect((await blind("GET", "/api/v1/runs/latest/stream")).status).toBe(403)
  })

  it("are shown once, listed by hint, and stop when revoked", async () => {
    const me = await server.as("acme")
    const made = await me("POST", "/api/v1/keys", { name: "ci", scopes: ["read"] })
    expect(made.status).toBe(200)
    const key: string = made.json.key
    expect(key).toMatch(/^hyk_/)
    const bearer = { authorization: `Bearer ${key}` }
    expect((await fetch(`${server.url}/api/v1/me`, { headers: bearer })).status).toBe(200)
    const list = await me("GET", "/api/v1/keys")
    expect(list.text).not.toContain(key)
    expect(list.json.keys.find((one: any) => one.id === made.json.id).hint).toBe(key.slice(0, 9))
    expect((await me("POST", `/api/v1/keys/${made.json.id}/revoke`)).status).toBe(200)
    expect((await fetch(`${server.url}/api/v1/me`, { headers: bearer })).status).toBe(401)
    expect((await me("POST", `/api/v1/keys/${made.json.id}/revoke`)).status).toBe(404)
  })

  it("of one tenant are not seen or revoked by another", async () => {
    const acme = await server.as("acme")
    const made = (await acme("POST", "/api/v1/keys", { name: "ci", scopes: ["read"] })).json
    const other = await server.as("globex")
    expect((await other("GET", "/api/v1/keys")).json.keys).toEqual([])
    expect((await other("POST", `/api/v1/keys/${made.id}/revoke`)).status).toBe(404)
    expect((await acme("GET", "/api/v1/keys")).json.keys.some((one: any) => one.id === made.id)).toBe(true)
  })
})

describe("the home's socket", () => {
  it("is the owner by mode, not by header: a claim in a header changes nothing", async () => {
    const owner = await startServer({ access: { mode: "owner", tenant: "acme", by: "owner" } })
    try {
      const me = await owner.anonymous("GET", "/api/v1/me")
      expect(me.json).toMatchObject({ tenant: "acme", owner: true, executor: "embedded" })
      const link = await owner.anonymous("POST", "/api/v1/login-links")
      expect(link.json.token).toMatch(/^hyl_/)
    } finally {
      await owner.close()
    }
    for (const headers of [{ "x-owner": "true" }, { "x-forwarded-for": "127.0.0.1" }, { authorization: "Basic b3duZXI6" }, { authorization: "Bearer owner" }] as Array<Record<string, string>>) {
      expect((await fetch(`${server.url}/api/v1/me`, { headers })).status).toBe(401)
    }
  })

  it("alone may name paths and submit plans", async () => {
    const me = await server.as("acme")
    const refused = await me("POST", "/api/v1/plan", { path: "/etc/passwd" })
    expect(refused.status).toBe(403)
    expect(refused.json.error.code).toBe("owner_only")
    expect((await me("POST", "/api/v1/plan", { source: "x", projectDirectory: "/etc" })).status).toBe(403)
  })
})

describe("AuthStore", () => {
  it("keeps no secret in the clear: only sha-256 leaves tokens.ts for a store", async () => {
    const { hashToken, isToken, newToken } = await import("../src/auth/tokens.ts")
    const token = newToken("hyk")
    expect(isToken("hyk", token)).toBe(true)
    expect(isToken("hys", token)).toBe(false)
    expect(hashToken(token)).toMatch(/^[0-9a-f]{64}$/)
    expect(hashToken(token)).not.toContain(token.slice(4, 12))
  })
})
