import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { makePage } from "../src/http/page.ts"

const directory = mkdtempSync(join(tmpdir(), "hp-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe("the built page", () => {
  it("is looked for until it is there, and served by exact name only", async () => {
    const dist = join(directory, "dist")
    const page = makePage(dist)
    expect(page.respond("/")!.status).toBe(503)
    expect(page.respond("/assets/x.js")).toBeUndefined()

    mkdirSync(join(dist, "assets"), { recursive: true })
    writeFileSync(join(directory, "secret.txt"), "secret")
    writeFileSync(join(dist, "index.html"), "<h1>page</h1>")
    writeFileSync(join(dist, "assets/a-1234.js"), "1")
    symlinkSync(join(directory, "secret.txt"), join(dist, "link.txt"))

    for (const path of ["/", "/runs/run_1", "/new", "/index.html"]) {
      const answer = page.respond(path)!
      expect([answer.status, await answer.text(), answer.headers.get("cache-control")]).toEqual([200, "<h1>page</h1>", "no-cache"])
    }
    expect(page.respond("/assets/a-1234.js")!.headers.get("cache-control")).toContain("immutable")
    expect(page.respond("/assets/a-1234.js")!.headers.get("content-type")).toContain("javascript")
    for (const path of ["/assets/b.js", "/../secret.txt", "/assets/../../secret.txt", "/%2e%2e/secret.txt", "/link.txt"]) expect(page.respond(path), path).toBeUndefined()
  })
})
