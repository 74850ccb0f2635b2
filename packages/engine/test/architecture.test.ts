/** The rules of ARCHITECTURE.md that a compiler does not check: which way imports point, no cycles, no drawers named `utils`. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { describe, expect, it } from "vitest"

const root = resolve(import.meta.dirname, "../../..")
const sources = (directory: string): Array<string> =>
  readdirSync(directory).flatMap((name) => {
    const path = join(directory, name)
    if (name === "node_modules" || name === "dist") return []
    return statSync(path).isDirectory() ? sources(path) : /\.(ts|svelte)$/.test(name) ? [path] : []
  })

interface Import {
  readonly specifier: string
  readonly typeOnly: boolean
}
export const importsOf = (text: string): Array<Import> =>
  // what stands in a template literal is text for somebody else (the form's pipeline file)
  [...text.replaceAll(/`[^`]*`/g, "``").matchAll(/(?:^|\n)\s*(import|export)\s+(type\s+)?(?:[^"'`;]*?\sfrom\s+)?["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)/g)].map((m) => ({
    specifier: (m[3] ?? m[4]) as string,
    typeOnly: m[2] !== undefined
  }))

/** Floors of the engine, lowest first; a folder imports its own floor's folder and floors below. Same-floor siblings are listed together. */
const floors: ReadonlyArray<ReadonlyArray<string>> = [
  ["program", "Home"],
  ["artifact", "dataset", "capability", "keys", "stage", "telemetry", "rewards"],
  ["store"],
  ["jobs", "containers", "sandbox", "endpoints", "git"],
  ["plugin"],
  ["pipeline"],
  ["plan"],
  ["run"],
  ["durable", "watch"],
  ["index", "testing"]
]
const floorOf = (name: string): number => floors.findIndex((floor) => floor.includes(name))

const packages: Readonly<Record<string, ReadonlyArray<string>>> = {
  engine: [],
  plugins: ["engine"],
  api: ["engine"],
  ui: ["api"],
  cli: ["engine", "plugins", "api", "ui"]
}

/** Folders of the plugins package that are no plugins: what several of them launch (Python for training, model servers). */
const shared: ReadonlySet<string> = new Set(["trainer", "serving"])

/** A plugin that extends another: an image is made of the very package that `oci` makes. */
const extending: Readonly<Record<string, string>> = { "oci-image": "oci" }

const violations = (file: string, text: string): Array<string> => {
  const [, pkg = "", , head = ""] = relative(root, file).split("/")
  return importsOf(text).flatMap(({ specifier, typeOnly }) => {
    const found: Array<string> = []
    const other = /^@hypernode\/([a-z]+)/.exec(specifier)?.[1]
    if (other !== undefined && other !== pkg && !packages[pkg]?.includes(other)) found.push(`${pkg} may not import ${specifier}`)
    if (pkg === "ui" && other === "api" && !typeOnly && specifier !== "@hypernode/api/browser") found.push(`ui imports the contract's types only, not ${specifier}`)
    if (specifier.startsWith(".")) {
      const target = relative(root, resolve(dirname(file), specifier)).split("/")
      if (target[1] !== pkg) found.push(`${specifier} leaves the package`)
      if (pkg === "engine" && target[2] === "src") {
        const from = floorOf(head.replace(/\.ts$/, ""))
        const to = floorOf((target[3] ?? "").replace(/\.ts$/, ""))
        if (from < 0) found.push(`folder ${head} stands on no floor`)
        else if (to > from) found.push(`${head} (floor ${from}) imports ${target[3]} (floor ${to})`)
      }
      const inPlugins = pkg === "plugins" && target[2] === "src"
      if (inPlugins && target[3] !== head && !shared.has(target[3] ?? "") && extending[head] !== target[3]) found.push(`plugin ${head} imports plugin ${target[3]}`)
    }
    if (pkg === "plugins" && new RegExp(`^@hypernode/plugins/(?!${head}(/|$))`).test(specifier)) found.push(`plugin ${head} imports ${specifier}`)
    return found
  })
}

const cycles = (files: ReadonlyArray<string>): Array<string> => {
  const graph = new Map(
    files.map((file) => [file, importsOf(readFileSync(file, "utf8")).filter((i) => !i.typeOnly && i.specifier.startsWith(".")).map((i) => resolve(dirname(file), i.specifier))])
  )
  const found: Array<string> = []
  const state = new Map<string, "open" | "done">()
  const visit = (file: string, path: ReadonlyArray<string>): void => {
    if (state.get(file) === "done") return
    if (state.get(file) === "open") {
      found.push([...path.slice(path.indexOf(file)), file].map((f) => relative(root, f)).join(" -> "))
      return
    }
    state.set(file, "open")
    for (const next of graph.get(file) ?? []) if (next !== file && graph.has(next)) visit(next, [...path, file])
    state.set(file, "done")
  }
  for (const file of files) visit(file, [])
  return found
}

const files = Object.keys(packages).flatMap((name) => sources(join(root, "packages", name, "src")))

describe("architecture", () => {
  it("imports point one way", () => {
    expect(files.flatMap((file) => violations(file, readFileSync(file, "utf8")).map((v) => `${relative(root, file)}: ${v}`))).toEqual([])
  })
  it("has no import cycle", () => {
    expect(cycles(files)).toEqual([])
  })
  it("has no drawer", () => {
    expect(files.map((file) => relative(root, file)).filter((file) => /(^|\/)(utils?|common|helpers?|misc)(\/|\.ts$)/i.test(file))).toEqual([])
  })
  it("catches planted faults", () => {
    const at = (path: string) => join(root, "packages", path)
    expect(violations(at("engine/src/artifact/x.ts"), `import { a } from "../run/Run.ts"`)).toHaveLength(1)
    expect(violations(at("plugins/src/age/x.ts"), `import { a } from "../oci/Client.ts"`)).toHaveLength(1)
    expect(violations(at("engine/src/run/x.ts"), `import { a } from "@hypernode/api"`)).toHaveLength(1)
    expect(violations(at("ui/src/x.ts"), `import { a } from "@hypernode/api/contract/Api"`)).toHaveLength(1)
  })
})
