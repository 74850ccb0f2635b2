/** One contender of the encryption bench, in a process of its own: `contender.ts <mode> <source> <work> <rows> <bytes>`. */
import { createCipheriv, createHash, createHmac, randomBytes } from "node:crypto"
import { createReadStream } from "node:fs"
import { open } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as FileArtifactStore from "@hypernode/engine/artifact/FileArtifactStore"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { homeAt } from "@hypernode/engine/Home"
import { sourceTag } from "@hypernode/engine/dataset/sourceTag"
import * as FileKeyring from "@hypernode/engine/keys/FileKeyring"
import { Keyring } from "@hypernode/engine/keys/Keyring"
import { Progress } from "@hypernode/engine/stage/Progress"
import { stageContext } from "@hypernode/engine/testing/stageServices"

const [, , mode, source, work, rowCount, byteCount] = process.argv as [string, string, string, string, string, string, string]
const CHUNK = 64 << 10
const key = randomBytes(32)

const sealer = () => {
  const nonce = Buffer.alloc(12)
  let index = 0
  return (chunk: Uint8Array): ReadonlyArray<Buffer> => {
    nonce.writeUInt32BE(index++, 7)
    const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 })
    return [cipher.update(chunk), cipher.final(), cipher.getAuthTag()]
  }
}

const timed = async (run: () => Promise<void>): Promise<void> => {
  const cpu = process.cpuUsage()
  const started = performance.now()
  await run()
  const seconds = (performance.now() - started) / 1000
  const used = process.cpuUsage(cpu)
  process.stdout.write(JSON.stringify({ seconds, cpuSeconds: (used.user + used.system) / 1e6, peakMebibytes: process.resourceUsage().maxRSS / 1024 }))
}

const modes: Readonly<Record<string, () => Promise<void>>> = {
  "raw-memory": () => {
    const chunk = randomBytes(CHUNK)
    const seal = sealer()
    return timed(async () => {
      for (let done = 0; done < Number(byteCount); done += CHUNK) seal(chunk)
    })
  },
  sha256: () => {
    const piece = randomBytes(4 * CHUNK)
    return timed(async () => {
      const hash = createHash("sha256")
      for (let done = 0; done < Number(byteCount); done += piece.length) hash.update(piece)
      hash.digest()
    })
  },
  "raw-file": () =>
    timed(async () => {
      const seal = sealer()
      const [from, to] = [await open(source), await open(join(work, "out"), "w")]
      const buffer = Buffer.alloc(16 * CHUNK)
      for (;;) {
        const { bytesRead } = await from.read(buffer, 0, buffer.length, null)
        if (bytesRead === 0) break
        const sealed = []
        for (let at = 0; at < bytesRead; at += CHUNK) sealed.push(...seal(buffer.subarray(at, Math.min(at + CHUNK, bytesRead))))
        await to.writev(sealed)
      }
      await from.close()
      await to.close()
    }),
  plugin: async () => {
    const { default: plugin } = await import("../../packages/plugins/src/age/plugin.ts")
    const encrypt = plugin.stages.encrypt
    if (encrypt === undefined) throw new Error("the age plugin has no encrypt stage")
    const home = homeAt(join(work, "home"), join(work, "cache"))
    const services = Layer.mergeAll(FileArtifactStore.layer, FileKeyring.layer, Layer.succeed(Progress, Progress.of({ log: () => Effect.void, report: () => Effect.void }))).pipe(Layer.provideMerge(Layer.succeed(CurrentHome, home)))
    const program = Effect.gen(function*() {
      const salt = Redacted.value(yield* (yield* Keyring).getOrCreate("salt/bench", () => randomBytes(32).toString("base64")))
      const hmac = createHmac("sha256", Buffer.from(salt, "base64"))
      const fast = sourceTag(Buffer.from(salt, "base64"))
      yield* Effect.promise(async () => {
        for await (const bytes of createReadStream(source)) {
          hmac.update(bytes as Buffer)
          fast.update(bytes as Buffer)
        }
      })
      const commitment = `hmac-sha256:${hmac.digest("hex")}`
      const dataset = { name: "rows.jsonl", uri: source, format: "chat" as const, rows: Number(rowCount), bytes: Number(byteCount), commitment, tag: fast.digest(commitment), saltKey: "salt/bench" }
      const context = stageContext(home, { options: { recipients: [], segmentBytes: 4 << 20 }, input: { dataset }, projectDirectory: work })
      const run = (encrypt.body as { run: (c: typeof context) => Effect.Effect<{ readonly rows: number }, unknown, ArtifactServices> }).run
      type ArtifactServices = Layer.Success<typeof services>
      const all = yield* Effect.context<ArtifactServices>()
      yield* Effect.promise(() => timed(async () => {
        const sealed = await Effect.runPromiseWith(all)(run(context))
        if (sealed.rows !== Number(rowCount)) throw new Error(`${sealed.rows} rows were sealed, not ${rowCount}`)
      }))
    })
    await Effect.runPromise(Effect.provide(program, services))
  }
}

const chosen = modes[mode]
if (chosen === undefined) throw new Error(`no contender "${mode}"`)
await chosen()
