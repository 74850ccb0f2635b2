import { describe, expect, it } from "vitest"
import { parseChallenges } from "../../src/oci/Challenge.ts"
import { isLoopback, originOf, parseReference } from "../../src/oci/Reference.ts"

const hex = "a".repeat(64)

describe("reference", () => {
  it.each([
    ["registry.example.com/team/model", { host: "registry.example.com", repository: "team/model" }],
    ["Registry.Example.com:5000/m:v1.0", { host: "registry.example.com:5000", repository: "m", tag: "v1.0" }],
    ["localhost/m", { host: "localhost", repository: "m" }],
    ["[::1]:5000/a/b:x", { host: "[::1]:5000", repository: "a/b", tag: "x" }],
    [`ghcr.io/a/b__c-d.e@sha256:${hex}`, { host: "ghcr.io", repository: "a/b__c-d.e", digest: `sha256:${hex}` }],
    [`ghcr.io/a:t@sha256:${hex}`, { host: "ghcr.io", repository: "a", tag: "t", digest: `sha256:${hex}` }],
    ["docker.io/model", { host: "docker.io", repository: "library/model" }]
  ])("%s", (text, reference) => {
    expect(parseReference(text)).toEqual(reference)
  })
  it.each([
    ["https://ghcr.io/a", /without https/], ["model", /host/], ["team/model", /host/], ["user:pw@ghcr.io/a", /no user or password/], ["ghcr.io/", /names a repository/],
    ["ghcr.io/Team/a", /names a repository/], ["ghcr.io/a//b", /names a repository/], ["ghcr.io/../a", /names a repository/], ["ghcr.io/a:", /tag/], ["ghcr.io/a:b c", /tag/],
    ["ghcr.io/a:b:c", /one tag/], ["ghcr.io/a@sha256:abc", /digest/], [`ghcr.io/a@sha512:${hex}`, /digest/], ["gh cr.io/a", /host/], ["ghcr.io:99x/a", /host/], [`ghcr.io/${"a/".repeat(130)}a`, /names a repository/], ["ghcr.io/a?b=c", /names a repository/]
  ])("refuses %s", (text, problem) => {
    const fault = parseReference(text)
    expect(fault).toMatch(problem)
    expect(fault).not.toContain("pw") // what was given is not repeated
  })
  it("speaks plain http on this machine only, or when told", () => {
    expect(["localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:80"].every(isLoopback)).toBe(true)
    expect(["127.0.0.1.example.com", "localhost.example.com", "10.0.0.1:5000", "128.0.0.1"].some(isLoopback)).toBe(false)
    expect(originOf("127.0.0.1:5000", undefined)).toBe("http://127.0.0.1:5000")
    expect(originOf("127.0.0.1:5000", false)).toBe("https://127.0.0.1:5000")
    expect(originOf("ghcr.io", undefined)).toBe("https://ghcr.io")
    expect(originOf("10.0.0.1:5000", true)).toBe("http://10.0.0.1:5000")
    expect(originOf("docker.io", undefined)).toBe("https://registry-1.docker.io")
  })
})

describe("challenge", () => {
  it.each([
    [`Bearer realm="https://auth.example.com/token",service="registry",scope="repository:a/b:pull,push"`, [{ scheme: "bearer", parameters: { realm: "https://auth.example.com/token", service: "registry", scope: "repository:a/b:pull,push" } }]],
    [`Basic realm="a \\"quoted\\" realm"`, [{ scheme: "basic", parameters: { realm: `a "quoted" realm` } }]],
    [`Basic`, [{ scheme: "basic", parameters: {} }]],
    [`Negotiate, Basic realm=plain, bearer Realm = "r" , error="insufficient_scope"`, [{ scheme: "negotiate", parameters: {} }, { scheme: "basic", parameters: { realm: "plain" } }, { scheme: "bearer", parameters: { realm: "r", error: "insufficient_scope" } }]],
    [`Negotiate YWJj==, Basic realm="x"`, [{ scheme: "negotiate", parameters: {} }, { scheme: "basic", parameters: { realm: "x" } }]],
    [``, []],
    [`"nonsense`, []]
  ])("%s", (header, challenges) => {
    expect(parseChallenges(header)).toEqual(challenges)
  })
})
