/**
 * `npm run bench`: every figure that the README states, each beside its yardstick in the same run. `npm run bench -- plan gateway` runs
 * some of them; `--quick` makes them smaller. Peers are installed into a temporary directory and not into the project.
 */
import { spawnSync } from "node:child_process"
import { readdirSync } from "node:fs"
import { join } from "node:path"

const here = import.meta.dirname
const all = readdirSync(here).filter((name) => name.endsWith(".ts") && name !== "main.ts").map((name) => name.slice(0, -3))
const args = process.argv.slice(2)
const options = args.filter((a) => a.startsWith("--"))
const chosen = args.filter((a) => !a.startsWith("--"))
const unknown = chosen.filter((name) => !all.includes(name))
if (unknown.length > 0 || options.includes("--help")) {
  process.stdout.write(`usage: npm run bench [-- NAME ...]\nbenches: ${all.join(", ")}\n`)
  process.exit(unknown.length > 0 ? 2 : 0)
}
const failed: Array<string> = []
for (const name of chosen.length === 0 ? all : chosen) {
  process.stdout.write(`\n── ${name}\n`)
  if (spawnSync(process.execPath, [join(here, `${name}.ts`), ...options], { stdio: "inherit" }).status !== 0) failed.push(name)
}
if (failed.length > 0) process.stdout.write(`\nfailed: ${failed.join(", ")}\n`)
process.exit(failed.length === 0 ? 0 : 1)
