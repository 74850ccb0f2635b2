/** What a pack is made of: where each import leads, by Node's own rules, and each file as it was read, with its stamp from before. */
import { existsSync, readFileSync, realpathSync } from "node:fs"
import { findPackageJSON } from "node:module"
import { dirname, extname, join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { type Stamp, stampOf } from "../../bin/pack.js"

export class Sources {
  readonly #text = new Map<string, string>()
  readonly #stamps = new Map<string, Stamp>()

  /** The same text however often it is asked for. */
  read(path: string): string {
    let text = this.#text.get(path)
    if (text === undefined) {
      this.#note(path)
      this.#text.set(path, (text = readFileSync(path, "utf8")))
    }
    return text
  }

  /** Real path of a module that can be packed; or the URL under which Node loads it: built in, CommonJS, JSON, native. Throws as import does. */
  find(specifier: string, importer: string): { readonly path: string } | { readonly url: string } {
    const url = import.meta.resolve(specifier, pathToFileURL(importer).href)
    if (!url.startsWith("file:")) return { url }
    const path = realpathSync(fileURLToPath(url))
    return this.#isModule(path) ? { path } : { url: pathToFileURL(path).href }
  }

  /** Everything that a pack of `paths` depends on: the files, what says where imports lead, and what npm last installed there. */
  stamps(paths: ReadonlyArray<string>): ReadonlyArray<Stamp> {
    for (const path of paths) {
      for (let at = dirname(path); at !== dirname(at); at = dirname(at)) {
        for (const name of ["package.json", "node_modules/.package-lock.json"]) if (existsSync(join(at, name))) this.#note(join(at, name))
      }
    }
    return [...this.#stamps.values()]
  }

  #note(path: string): void {
    if (!this.#stamps.has(path)) this.#stamps.set(path, stampOf(path))
  }

  #isModule(path: string): boolean {
    const extension = extname(path)
    if (extension === ".mjs" || extension === ".ts") return true
    if (extension !== ".js") return false
    const manifest = findPackageJSON(pathToFileURL(path))
    return manifest !== undefined && (JSON.parse(this.read(manifest)) as { readonly type?: string }).type === "module"
  }
}
