/**
 * A process of its own that packages and pushes: one that can be killed, and whose memory can be measured. `job.json` of its home says what;
 * prints the peak of its resident memory in bytes. HOLD=1 is a planted fault: it holds every file in memory, as a push must not.
 */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { body } from "./pushing.ts"
import { world } from "./world.ts"

const home = process.argv[2]!
const { checkpoint, options } = JSON.parse(await readFile(join(home, "job.json"), "utf8"))
const w = await world({ REGISTRY: process.env["REGISTRY"] ?? "" }, home)
const held: Array<Buffer> = []
if (process.env["HOLD"] === "1") {
  const { files } = await w.run(w.store.tree(checkpoint.tree))
  for (const file of files) held.push(await readFile(await w.run(w.store.path({ ...file, mediaType: "application/octet-stream" }))))
}
await w.run(body.run(w.context(options, { checkpoint })))
process.stdout.write(`${process.resourceUsage().maxRSS * 1024}\n`)
process.exitCode = held.length < 0 ? 1 : 0
