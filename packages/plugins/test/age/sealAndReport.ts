/** Seals a generated data set of argv[2] MiB with a canary in each row and prints the process's peak memory; a process of its own, so that the figure is its own. */
import { createHmac } from "node:crypto"
import { createReadStream, createWriteStream } from "node:fs"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { homeAt } from "@hypernode/engine/Home"
import * as FileArtifactStore from "@hypernode/engine/artifact/FileArtifactStore"
import * as FileKeyring from "@hypernode/engine/keys/FileKeyring"
import { Keyring } from "@hypernode/engine/keys/Keyring"
import { Progress } from "@hypernode/engine/stage/Progress"
import { stageContext } from "@hypernode/engine/testing/stageServices"
import * as Layer from "effect/Layer"
import plugin from "../../src/age/plugin.ts"

const [, , mebibytes, root, canary] = process.argv as [string, string, string, string, string]
const home = homeAt(join(root, "home"), join(root, "cache"))
const path = join(root, "source", "rows.jsonl")
const row = `${JSON.stringify({ text: `${canary} ${"lorem ipsum dolor sit amet ".repeat(40)}` })}\n`
const block = row.repeat(Math.floor((1 << 20) / row.length))
const blocks = Number(mebibytes)

const write = async (): Promise<void> => {
  await mkdir(join(root, "source"), { recursive: true })
  const out = createWriteStream(path)
  for (let i = 0; i < blocks; i++) if (!out.write(block)) await new Promise((go) => out.once("drain", go))
  await new Promise<void>((done) => out.end(done))
}

const services = Layer.mergeAll(FileArtifactStore.layer, FileKeyring.layer, Layer.succeed(Progress, Progress.of({ log: () => Effect.void, report: () => Effect.void }))).pipe(Layer.provideMerge(Layer.succeed(CurrentHome, home)))

await Effect.runPromise(
  Effect.gen(function*() {
    yield* Effect.promise(write)
    const salt = Redacted.value(yield* (yield* Keyring).getOrCreate("salt/x", () => Buffer.alloc(32, 7).toString("base64")))
    const hmac = createHmac("sha256", Buffer.from(salt, "base64"))
    yield* Effect.promise(async () => { for await (const bytes of createReadStream(path)) hmac.update(bytes) })
    const rows = blocks * Math.floor((1 << 20) / row.length)
    const dataset = { name: "rows.jsonl", uri: path, format: "text" as const, rows, bytes: blocks * block.length, commitment: `hmac-sha256:${hmac.digest("hex")}`, saltKey: "salt/x" }
    const context = stageContext(home, { options: { recipients: [], segmentBytes: 1 << 20 }, input: { dataset }, projectDirectory: root })
    const run = (plugin.stages.encrypt!.body as { run: (c: typeof context) => Effect.Effect<{ segments: ReadonlyArray<unknown>; rows: number }, unknown, any> }).run
    console.log("sealing")
    const sealed = yield* run(context)
    console.log(JSON.stringify({ rows: sealed.rows, expected: rows, segments: sealed.segments.length, peakKiB: process.resourceUsage().maxRSS }))
  }).pipe(Effect.provide(services)) as Effect.Effect<void, unknown>
)
