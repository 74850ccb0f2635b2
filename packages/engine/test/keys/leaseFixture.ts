/** Sealed shards in a home, and a worker's side of the socket protocol. */
import { createConnection } from "node:net"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ArtifactStore } from "../../src/artifact/ArtifactStore.ts"
import * as FileArtifactStore from "../../src/artifact/FileArtifactStore.ts"
import { CurrentHome } from "../../src/capability/CurrentHome.ts"
import type { Home } from "../../src/Home.ts"
import { openFile, sealFile } from "../../src/keys/age/File.ts"
import { generateIdentity, recipientOf } from "../../src/keys/age/X25519.ts"
import * as FileKeyring from "../../src/keys/FileKeyring.ts"
import { Keyring } from "../../src/keys/Keyring.ts"
import type { LeaseGrant } from "../../src/keys/Leases.ts"
import type { Segment, Shards } from "../../src/stage/values.ts"
import * as Redacted from "effect/Redacted"

export const services = (home: Home) => Layer.mergeAll(FileArtifactStore.layer, FileKeyring.layer).pipe(Layer.provideMerge(Layer.succeed(CurrentHome, home)))

/** Six segments; slot 0 has 0, 2, 4 and slot 1 has 1, 3, 5. */
export const sealShards = Effect.gen(function*() {
  const artifacts = yield* ArtifactStore
  const keyring = yield* Keyring
  const identity = Redacted.value(yield* keyring.getOrCreate("dataset/d", generateIdentity))
  const segments: Array<Segment> = []
  for (let index = 0; index < 6; index++) {
    const plain = Buffer.from(`{"text":"segment ${index}"}\n`.repeat(index === 5 ? 20_000 : 3))
    segments.push({ index, artifact: yield* artifacts.put(sealFile(plain, [recipientOf(identity)]), "application/age"), rows: 3, bytes: plain.length })
  }
  const slots = [0, 1].map((slot) => ({ slot, segments: [0, 2, 4].map((i) => i + slot), rows: 9, bytes: 1 }))
  return { sealed: { keyId: "dataset/d", recipients: [recipientOf(identity)], commitment: "hmac-sha256:0", format: "text", rows: 18, segments }, slots } satisfies Shards
})

export const grantOf = (shards: Shards, changes: Partial<LeaseGrant> = {}): LeaseGrant => ({ jobId: "run-1/train/1", runId: "run-1", node: "local", shards, expiresAt: Date.now() + 3_600_000, fencingToken: 1, ...changes })

export interface Reply {
  readonly v: number
  readonly error?: string
  readonly segments?: ReadonlyArray<{ readonly index: number; readonly header: string; readonly payloadOffset: number }>
}

/** Sends bytes as they are; resolves with what came back. */
export const send = (socket: string, bytes: string): Effect.Effect<Reply> =>
  Effect.promise(() =>
    new Promise((resolve, reject) => {
      const connection = createConnection(socket, () => connection.write(bytes))
      let received = ""
      connection.on("data", (data) => { received += data.toString() })
      connection.on("error", reject)
      connection.on("close", () => { try { resolve(JSON.parse(received)) } catch (error) { reject(error) } })
    })
  )

export const ask = (socket: string, token: string, slot: number, identity: string): Effect.Effect<Reply> =>
  send(socket, `${JSON.stringify({ v: 1, token, slot, recipient: recipientOf(identity) })}\n`)

/** What a worker makes of a reply: the plaintext of its segments. */
export const openSegments = Effect.fnUntraced(function*(reply: Reply, shards: Shards, identity: string) {
  const artifacts = yield* ArtifactStore
  return yield* Effect.forEach(reply.segments ?? [], ({ header, index, payloadOffset }) =>
    Effect.map(artifacts.read(shards.sealed.segments[index]!.artifact), (file) => ({
      index,
      text: openFile(Buffer.concat([Buffer.from(header, "base64"), file.subarray(payloadOffset)]), identity).toString()
    })))
})
