/**
 * The packages as `npm pack` makes them, installed in an empty directory. Packing rewrites package.json for a moment, so it happens in
 * a copy of the repository's sources, never in the tree that other tests are running from.
 */
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join, resolve } from "node:path"

const root = resolve(import.meta.dirname, "../../..")
const packages = ["engine", "plugins", "api", "ui", "cli"]

/** Runs to the end; throws with what it printed when it fails. */
export const sh = (command: string, argv: ReadonlyArray<string>, cwd: string, env: Readonly<Record<string, string | undefined>> = process.env): string => {
  const done = spawnSync(command, argv, { cwd, env, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 })
  if (done.status !== 0) throw new Error(`${command} ${argv.slice(0, 4).join(" ")} in ${cwd} ended with ${done.status ?? done.signal ?? done.error?.message}:\n${done.stdout}\n${done.stderr}`)
  return done.stdout
}

const links = (from: string, to: string): void => {
  mkdirSync(to, { recursive: true })
  for (const entry of readdirSync(from)) if (entry !== "@hypernode" && !existsSync(join(to, entry))) symlinkSync(join(from, entry), join(to, entry))
}

const copySources = (to: string): void => {
  for (const file of ["package.json", "tsconfig.base.json", "README.md", "LICENSE", "scripts"]) if (existsSync(join(root, file))) cpSync(join(root, file), join(to, file), { recursive: true })
  for (const name of packages) {
    cpSync(join(root, "packages", name), join(to, "packages", name), { recursive: true, filter: (path) => !["node_modules", "dist", "test", "__pycache__"].includes(basename(path)) })
    const own = join(root, "packages", name, "node_modules")
    if (existsSync(own)) links(own, join(to, "packages", name, "node_modules"))
  }
  links(join(root, "node_modules"), join(to, "node_modules"))
  mkdirSync(join(to, "node_modules/@hypernode"))
  for (const name of packages) symlinkSync(join(to, "packages", name), join(to, "node_modules/@hypernode", name))
}

/** Absolute paths of the tarballs, one a package. */
export const packAll = (to: string): ReadonlyArray<string> => {
  const copy = mkdtempSync(join(tmpdir(), "hyper-copy-"))
  try {
    copySources(copy)
    for (const name of packages) sh("npm", ["pack", "--pack-destination", to, "--loglevel=error"], join(copy, "packages", name))
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
  return readdirSync(to).filter((file) => file.endsWith(".tgz")).map((file) => join(to, file))
}

const typescript = (): string => `typescript@${(JSON.parse(readFileSync(join(root, "node_modules/typescript/package.json"), "utf8")) as { readonly version: string }).version}`

/** An empty project with the packages and a compiler installed, and the Node that came with them. */
export const install = (): { readonly directory: string; readonly node: string; readonly tarballs: ReadonlyArray<string> } => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "hyper-packed-")))
  const tarballs = packAll(directory)
  writeFileSync(join(directory, "package.json"), `{ "name": "somebodys-own", "private": true, "type": "module" }\n`)
  sh("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error", ...tarballs, typescript()], directory)
  return { directory, tarballs, node: join(directory, "node_modules/node/bin/node") }
}

export const remove = (directory: string): void => rmSync(directory, { recursive: true, force: true })
