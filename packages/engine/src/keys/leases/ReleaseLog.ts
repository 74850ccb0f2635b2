/**
 * The log of what was released to whom: one JSON line an entry, each with the digest of the one before and an ed25519 signature by the
 * home's `node` key. An entry is on disk before its keys leave. Changing, dropping, moving or adding an entry breaks the chain; what is
 * missing at the end shows against the grant's count and head.
 */
import { createPublicKey, verify } from "node:crypto"
import { constants, promises as fs } from "node:fs"
import * as Schema from "effect/Schema"
import { canonicalJson } from "../../artifact/canonicalJson.ts"
import { digestOf } from "../../artifact/Digest.ts"

export const GENESIS = `sha256:${"0".repeat(64)}`

const Content = Schema.Struct({
  job: Schema.String,
  run: Schema.String,
  /** who holds the lease */
  node: Schema.String,
  fencingToken: Schema.Int,
  /** from 0 */
  sequence: Schema.Int,
  /** epoch milliseconds */
  at: Schema.Int,
  slot: Schema.Int,
  segments: Schema.Array(Schema.Int),
  recipient: Schema.String,
  previous: Schema.String
})
export type ReleaseContent = typeof Content.Type

const Entry = Schema.Struct({
  ...Content.fields,
  digest: Schema.String,
  /** base64 of the raw ed25519 public key that signed */
  signer: Schema.String,
  signature: Schema.String
})
export type ReleaseEntry = typeof Entry.Type

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Entry))

export const releaseDigest = (content: ReleaseContent): string => digestOf(canonicalJson(content))
export const rawDigest = (digest: string): Buffer => Buffer.from(digest.slice("sha256:".length), "hex")

/** Why the log is not what was written: a sentence with the entry's number. */
export class ReleaseLogFault extends Error {}

const contentOf = ({ at, fencingToken, job, node, previous, recipient, run, segments, sequence, slot }: ReleaseEntry): ReleaseContent =>
  ({ at, fencingToken, job, node, previous, recipient, run, segments, sequence, slot })

/** Checks a whole log. `expected` is what the grant says of it; a crash between log and grant may leave the log one entry longer. Throws ReleaseLogFault. */
export const verifyReleases = (
  text: string,
  expected: { readonly jobId: string; readonly signer: string; readonly count: number; readonly head: string }
): ReadonlyArray<ReleaseEntry> => {
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: Buffer.from(expected.signer, "base64").toString("base64url") }, format: "jwk" })
  // What has no line end was being written when the process died; its keys never left.
  const lines = text.split("\n").slice(0, -1)
  let previous = GENESIS
  const entries = lines.map((line, i) => {
    const fault = (why: string) => new ReleaseLogFault(`entry ${i} ${why}`)
    let entry: ReleaseEntry
    try {
      entry = decode(line)
    } catch {
      throw fault("is not a release")
    }
    if (entry.job !== expected.jobId) throw fault("is of another job")
    if (entry.sequence !== i || entry.previous !== previous) throw fault("does not follow the one before: an entry was removed, added or moved")
    if (releaseDigest(contentOf(entry)) !== entry.digest) throw fault("was changed")
    if (entry.signer !== expected.signer || !verify(null, rawDigest(entry.digest), key, Buffer.from(entry.signature, "base64"))) throw fault("is not signed by this home's node key")
    if (i + 1 === expected.count && entry.digest !== expected.head) throw fault("is not the one that was written there")
    previous = entry.digest
    return entry
  })
  if (entries.length < expected.count) throw new ReleaseLogFault(`${expected.count} entries were written and ${entries.length} are there`)
  return entries
}

export const readLog = (path: string): Promise<string> =>
  fs.readFile(path, "utf8").catch((error) => (error instanceof Error && "code" in error && error.code === "ENOENT" ? "" : Promise.reject(error)))

/** Appends and syncs; cuts off first what a dying process left without a line end. */
export const appendRelease = async (path: string, entry: ReleaseEntry): Promise<void> => {
  const handle = await fs.open(path, constants.O_CREAT | constants.O_RDWR, 0o600)
  try {
    const text = await handle.readFile("utf8")
    const whole = Buffer.byteLength(text.slice(0, text.lastIndexOf("\n") + 1))
    await handle.truncate(whole)
    await handle.write(`${JSON.stringify(entry)}\n`, whole)
    await handle.sync()
  } finally {
    await handle.close()
  }
}
