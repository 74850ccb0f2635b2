/** Plans stay instant however many plugins there are: neither factories nor definitions load a vendor's SDK. */
import { spawnSync } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { expect, it } from "vitest"

const source = resolve(import.meta.dirname, "../src")
const plugins = readdirSync(source).filter((name) => existsSync(join(source, name, "plugin.ts")))

/** What has no business in a plan. effect, our own code and @scure/base (bech32 of age recipients) have. */
const PROGRAM = `
import { registerHooks } from "node:module"
const seen = new Set()
registerHooks({ resolve: (specifier, context, next) => {
  const found = next(specifier, context)
  const name = /.*\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)\\//.exec(found.url)?.[1]
  if (name !== undefined && name !== "effect" && !name.startsWith("@effect/") && name !== "@scure/base") seen.add(name)
  return found
} })
for (const url of process.argv.slice(1)) await import(url)
process.stdout.write(JSON.stringify([...seen]))`

const loadedBy = (...urls: ReadonlyArray<string>): ReadonlyArray<string> => {
  const { status, stderr, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", PROGRAM, ...urls], { cwd: source, encoding: "utf8" })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as ReadonlyArray<string>
}
const urlOf = (plugin: string, file: string): string => pathToFileURL(join(source, plugin, file)).href

it("the factories of all plugins load nothing but our own code", () => {
  expect(plugins.length).toBeGreaterThan(12)
  expect(loadedBy(...plugins.map((plugin) => urlOf(plugin, "index.ts")))).toEqual([])
})

it("the definitions of all plugins load no SDK", () => {
  expect(loadedBy(...plugins.map((plugin) => urlOf(plugin, "plugin.ts")))).toEqual([])
})

it("the check sees one that does", () => {
  expect(loadedBy("ollama")).toContain("ollama")
})
