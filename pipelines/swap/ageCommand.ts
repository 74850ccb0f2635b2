/** An `encrypt` plugin from outside: the `age` command seals each run of rows, which reach it through a pipe and no disk. */
import { pluginFrom } from "@hypernode/engine"

const plugin = pluginFrom(import.meta.url, "age-command")

export interface AgeCommandOptions {
  /** rows of a segment */
  readonly rows: number
}

export const ageCommand = (options: AgeCommandOptions) => plugin.use("encrypt", options)

export default plugin.define(async () => {
  const { execFile } = await import("node:child_process")
  const { readFile } = await import("node:fs/promises")
  const Effect = await import("effect/Effect")
  const Redacted = await import("effect/Redacted")
  const Schema = await import("effect/Schema")
  const { ArtifactStore } = await import("@hypernode/engine/artifact/ArtifactStore")
  const { sourceCheck } = await import("@hypernode/engine/dataset/sourceCheck")
  const { AGE_MEDIA_TYPE } = await import("@hypernode/engine/keys/age/File")
  const { generateIdentity, recipientOf } = await import("@hypernode/engine/keys/age/X25519")
  const { Keyring } = await import("@hypernode/engine/keys/Keyring")
  const { definePlugin, stage } = await import("@hypernode/engine/plugin/Plugin")
  const { artifactFailure } = await import("@hypernode/engine/stage/artifactFailure")
  const { StageError } = await import("@hypernode/engine/stage/StageError")

  const failed = (cause: unknown) => new StageError({ reason: "Missing", message: `age gave nothing: ${cause instanceof Error ? cause.message : String(cause)}`, remedy: "Install it: apt-get install age" })
  const sealed = (rows: string, recipient: string) =>
    Effect.tryPromise({
      try: () => new Promise<Buffer>((resolve, reject) => {
        const child = execFile("age", ["-r", recipient], { encoding: "buffer", maxBuffer: 1 << 30 }, (error, stdout) => (error === null ? resolve(stdout) : reject(error)))
        child.stdin?.end(rows)
      }),
      catch: failed
    })

  return definePlugin({
    id: "age-command",
    version: "1.0.0",
    stages: {
      encrypt: stage({
        kind: "encrypt",
        effect: "pure",
        options: Schema.Struct({ rows: Schema.Int.check(Schema.isGreaterThan(0)) }),
        body: {
          run: Effect.fn("age-command.encrypt")(function*({ input: { dataset }, options }) {
            const artifacts = yield* ArtifactStore
            const keyring = yield* Keyring
            const missing = (error: { readonly message: string }) => new StageError({ reason: "Missing", message: error.message })
            const keyId = `dataset/${dataset.commitment.replace(/^.*:/, "").slice(0, 32)}`
            const recipient = recipientOf(Redacted.value(yield* Effect.mapError(keyring.getOrCreate(keyId, generateIdentity), missing)))
            const salt = Buffer.from(Redacted.value(yield* Effect.mapError(keyring.get(dataset.saltKey), missing)), "base64")
            const bytes = yield* Effect.tryPromise({ try: () => readFile(dataset.uri), catch: failed })
            const check = sourceCheck(salt, dataset)
            check.update(bytes)
            if (!check.matches()) return yield* new StageError({ reason: "InvalidInput", message: `${dataset.name} is not what was selected`, remedy: "Run the pipeline again." })
            const rows = bytes.toString("utf8").split("\n").filter((row) => row.trim() !== "")
            const parts = Array.from({ length: Math.ceil(rows.length / options.rows) }, (_, i) => rows.slice(i * options.rows, (i + 1) * options.rows))
            const segments = yield* Effect.forEach(parts, (part, index) =>
              Effect.gen(function*() {
                const text = `${part.join("\n")}\n`
                const artifact = yield* Effect.mapError(artifacts.put(yield* sealed(text, recipient), AGE_MEDIA_TYPE), artifactFailure)
                return { index, artifact, rows: part.length, bytes: Buffer.byteLength(text) }
              }))
            return { keyId, recipients: [recipient], commitment: dataset.commitment, format: dataset.format, rows: rows.length, segments }
          })
        }
      })
    }
  })
})
