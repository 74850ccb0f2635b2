#!/usr/bin/env node
// Finds a Node that can run us (26; it comes as a package) and starts the command line: from source in the repository, compiled elsewhere.
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import module, { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { cacheDirectory, ownCache } from "./ownCache.js"

const here = dirname(fileURLToPath(import.meta.url))
const source = join(here, "../src/main.ts")
const program = existsSync(source) ? source : join(here, "../dist/main.js")

if (Number(process.versions.node.split(".")[0]) >= 26) {
  // before the first of our own modules: stripped and compiled once, not at every command
  const compiled = process.env.NODE_COMPILE_CACHE === undefined ? ownCache(cacheDirectory(process.env), "compile") : undefined
  if (compiled !== undefined) module.enableCompileCache(compiled)
  await import("./resolve.js")
  await import(pathToFileURL(program).href)
} else {
  let node
  try {
    node = join(dirname(createRequire(import.meta.url).resolve("node/package.json")), "bin/node")
  } catch {}
  if (node === undefined || !existsSync(node)) {
    console.error(`hyper needs Node 26 or newer; this is ${process.version}, and the package "node" that brings it is not installed.\nRun npm ci (or npm install) again, or put a newer Node first on the PATH.`)
    process.exit(4)
  }
  const { signal, status } = spawnSync(node, [program, ...process.argv.slice(2)], { stdio: "inherit" })
  process.exit(status ?? (signal ? 130 : 1))
}
