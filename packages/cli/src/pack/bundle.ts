/** One file that holds many modules, each still whole and under its URL. */
import { dirname } from "node:path"
import { pathToFileURL } from "node:url"
import { rolldown, type Plugin } from "rolldown"
import type { Sources } from "./Sources.ts"

const ENTRY = "\0pack"

/** Modules know where they lie, and go on knowing it. */
const placed = (code: string, path: string): string =>
  code
    .replaceAll("import.meta.url", JSON.stringify(pathToFileURL(path).href))
    .replaceAll("import.meta.filename", JSON.stringify(path))
    .replaceAll("import.meta.dirname", JSON.stringify(dirname(path)))

/** What is imported when it is needed stays outside, and is found by URL: the pack's, where the pack has it. */
const modules = (sources: Sources, entry: string, from: string, outside: ReadonlySet<string>, exported: Map<string, ReadonlyArray<string>>): Plugin => ({
  name: "hyper-pack",
  resolveId(specifier, importer, { kind }) {
    if (specifier === ENTRY) return ENTRY
    const found = sources.find(specifier, importer === undefined || importer === ENTRY ? from : importer)
    if ("url" in found) return { id: found.url, external: true }
    return kind !== "import-statement" || outside.has(found.path) ? { id: pathToFileURL(found.path).href, external: true } : found.path
  },
  load: (id) => (id === ENTRY ? { code: entry, moduleType: "js" } : { code: placed(sources.read(id), id), moduleType: id.endsWith(".ts") ? "ts" : "js" }),
  moduleParsed: ({ exports, id }) => void exported.set(id, exports)
})

const build = async (plugin: Plugin) => {
  const bundle = await rolldown({
    input: ENTRY,
    plugins: [plugin],
    platform: "node",
    treeshake: false,
    logLevel: "silent"
  })
  try {
    // names stay, so that a message or a stack that shows one shows what the source says
    const { output } = await bundle.generate({ format: "esm", codeSplitting: false, keepNames: true, comments: false, minify: { compress: false, mangle: false, codegen: { removeWhitespace: true } } })
    return output[0]
  } finally {
    await bundle.close()
  }
}

export interface Graph {
  /** real paths, in the order in which Node would run them */
  readonly paths: ReadonlyArray<string>
  readonly exported: ReadonlyMap<string, ReadonlyArray<string>>
}

/** Every module that importing `entries` loads, seen from the file `from`. */
export const graphOf = async (sources: Sources, entries: ReadonlyArray<string>, from: string, outside: ReadonlySet<string>): Promise<Graph> => {
  const exported = new Map<string, ReadonlyArray<string>>()
  const chunk = await build(modules(sources, entries.map((entry) => `import ${JSON.stringify(entry)}`).join("\n"), from, outside, exported))
  return { paths: chunk.moduleIds.filter((id) => !id.startsWith("\0")), exported }
}

/** Of what may change after a module has run. Says yes too often rather than too seldom. */
const mayChange = (source: string, name: string): boolean => name !== "default" && /^[\w$]+$/.test(name) && new RegExp(`\\b(?:let|var)\\s+${name.replaceAll("$", "\\$")}\\b`).test(source)

/**
 * `modules`: URL → namespace. `live`: URL → name → the name under which this file itself exports it: only an export of a module follows a
 * variable that changes.
 */
export const bundleOf = async (sources: Sources, graph: Graph, from: string, outside: ReadonlySet<string>): Promise<string> => {
  const live: Record<string, Record<string, string>> = {}
  const lines: Array<string> = []
  for (const [i, path] of graph.paths.entries()) {
    lines.push(`import * as m${i} from ${JSON.stringify(path)}`)
    for (const name of graph.exported.get(path) ?? []) {
      if (!mayChange(sources.read(path), name)) continue
      const own = (live[pathToFileURL(path).href] ??= {})
      own[name] = `live${i}_${name}`
      lines.push(`export { ${name} as ${own[name]} } from ${JSON.stringify(path)}`)
    }
  }
  lines.push(`export const modules = new Map([${graph.paths.map((path, i) => `[${JSON.stringify(pathToFileURL(path).href)}, m${i}]`).join(", ")}])`, `export const live = ${JSON.stringify(live)}`)
  return (await build(modules(sources, lines.join("\n"), from, outside, new Map()))).code
}
