/** See ensure-build.d.ts. Plain JavaScript: type stripping is refused under node_modules. */
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = dirname(fileURLToPath(import.meta.url))
const dist = join(root, "dist")

/** Over everything the page is made from, the shared part of the contract included. */
const sourceDigest = () => {
  const hash = createHash("sha256")
  const add = (path) => {
    if (!existsSync(path)) return
    if (statSync(path).isDirectory()) for (const name of readdirSync(path).sort()) add(join(path, name))
    else hash.update(path.slice(root.length)).update("\0").update(readFileSync(path)).update("\0")
  }
  for (const name of ["index.html", "vite.config.ts", "svelte.config.js", "package.json", "public", "src"]) add(join(root, name))
  for (const path of ["../api/src/browser.ts", "../api/src/contract/pipelineSource.ts", "../engine/src/run/fold.ts"]) add(join(root, path))
  return hash.digest("hex")
}

/** Two processes that find no build build it twice, side by side; whoever is last puts his in place. */
const build = async (digest) => {
  const out = join(root, `dist.${process.pid}.tmp`)
  const vite = join(dirname(createRequire(import.meta.url).resolve("vite/package.json")), "bin/vite.js")
  try {
    await new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [vite, "build", "--outDir", out, "--emptyOutDir", "--logLevel", "warn"], { cwd: root, env: { ...process.env, NODE_ENV: "production" }, stdio: ["ignore", "pipe", "pipe"] })
      let text = ""
      child.stdout.on("data", (data) => (text += data))
      child.stderr.on("data", (data) => (text += data))
      child.on("error", reject)
      child.on("exit", (code) => (code === 0 ? resolve(undefined) : reject(new Error(`the page could not be built (vite exit ${code}): ${text.slice(-2000)}`))))
    })
    writeFileSync(join(out, ".source"), digest)
    rmSync(dist, { recursive: true, force: true })
    renameSync(out, dist)
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
}

export const ensureUiBuild = async (options = {}) => {
  const stamp = join(dist, ".source")
  // A published package has no source to build from: what it carries is what there is.
  if (!existsSync(join(root, "src"))) return dist
  const digest = sourceDigest()
  if (existsSync(join(dist, "index.html")) && existsSync(stamp) && readFileSync(stamp, "utf8") === digest) return dist
  options.onBuild?.()
  await build(digest)
  return dist
}
