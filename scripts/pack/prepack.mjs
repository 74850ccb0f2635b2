/**
 * Runs before `npm pack` in a package's folder: makes `dist/` (JavaScript and declarations, because Node strips no types below
 * node_modules), copies what is not TypeScript beside it, and points the package's exports at it. `postpack.mjs` undoes all of that.
 * Types are not judged here: `npm run check` does.
 */
import { spawnSync } from "node:child_process"
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { basename, dirname, extname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { BACKUP, README, restore } from "./restore.mjs"

const root = join(dirname(fileURLToPath(import.meta.url)), "../..")
const home = process.cwd()
const name = basename(home)
const source = join(home, "src")
const dist = join(home, "dist")

const fail = (message) => {
  restore(home)
  console.error(`prepack of ${name}: ${message}`)
  process.exit(1)
}

const filesBelow = (directory) =>
  readdirSync(directory).flatMap((entry) => {
    const path = join(directory, entry)
    if (entry === "__pycache__" || entry.startsWith(".")) return []
    return statSync(path).isDirectory() ? filesBelow(path) : [path]
  })

/** tsc sees the other packages as source too, so it writes below `packages/`; only this package's part is taken. */
const compile = () => {
  const out = mkdtempSync(join(tmpdir(), "hyper-pack-"))
  const config = join(home, "tsconfig.pack.json")
  writeFileSync(config, JSON.stringify({ extends: "./tsconfig.json", compilerOptions: { noEmit: false, declaration: true, noUnusedLocals: false, rootDir: "..", outDir: out }, include: ["src"] }))
  try {
    const tsc = join(dirname(createRequire(join(root, "package.json")).resolve("typescript/package.json")), "bin/tsc")
    const { error, stdout } = spawnSync(process.execPath, [tsc, "-p", config], { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 })
    if (error !== undefined) fail(error.message)
    const made = join(out, name, "src")
    const wanted = filesBelow(source).filter((path) => /(?<!\.d)\.ts$/.test(path))
    const missing = wanted.filter((path) => !existsSync(join(made, relative(source, path).replace(/\.ts$/, ".js"))))
    if (missing.length > 0) fail(`tsc did not write ${missing.map((path) => relative(home, path)).join(", ")}\n${stdout}`)
    cpSync(made, dist, { recursive: true })
  } finally {
    rmSync(out, { recursive: true, force: true })
    rmSync(config, { force: true })
  }
  // declarations keep the extension that the source wrote
  for (const path of filesBelow(dist).filter((path) => path.endsWith(".d.ts"))) {
    writeFileSync(path, readFileSync(path, "utf8").replace(/((?:from|import)\s*\(?\s*["']\.{1,2}\/[^"']+)\.ts(["'])/g, "$1.js$2"))
  }
  for (const path of filesBelow(source).filter((path) => extname(path) !== ".ts")) {
    const target = join(dist, relative(source, path))
    mkdirSync(dirname(target), { recursive: true })
    copyFileSync(path, target)
  }
}

/** `./src/*.ts` → the compiled module and its types. */
const published = (target) =>
  typeof target === "string" && target.startsWith("./src/") && target.endsWith(".ts")
    ? { types: target.replace("./src/", "./dist/").replace(/\.ts$/, ".d.ts"), default: target.replace("./src/", "./dist/").replace(/\.ts$/, ".js") }
    : target

restore(home)
rmSync(dist, { recursive: true, force: true })
const manifest = JSON.parse(readFileSync(join(home, "package.json"), "utf8"))
if (existsSync(join(home, "vite.config.ts"))) {
  const vite = join(dirname(createRequire(join(home, "package.json")).resolve("vite/package.json")), "bin/vite.js")
  const { status, stderr } = spawnSync(process.execPath, [vite, "build", "--logLevel", "error"], { cwd: home, encoding: "utf8" })
  if (status !== 0) fail(`vite build: ${stderr}`)
} else {
  compile()
}
renameSync(join(home, "package.json"), join(home, BACKUP))
writeFileSync(
  join(home, "package.json"),
  `${JSON.stringify({ ...manifest, scripts: {}, devDependencies: undefined, exports: Object.fromEntries(Object.entries(manifest.exports ?? {}).map(([key, target]) => [key, published(target)])) }, null, 2)}\n`
)
if (!existsSync(join(home, README)) && existsSync(join(root, README))) copyFileSync(join(root, README), join(home, README))
