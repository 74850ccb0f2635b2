/**
 * One blob of a registry into `<cache>/oci/partial/sha256-<hex>`: goes on where it was cut off, in this attempt or another, and leaves only what its
 * digest names. The file then moves into the artifact store.
 */
import { createHash, type Hash } from "node:crypto"
import { createReadStream } from "node:fs"
import { type FileHandle, mkdir, open, rm } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { drained } from "./exchange.ts"
import type { ModelFile } from "./ModelManifest.ts"
import type { Registry } from "./Registry.ts"
import { codeOf, DigestFault, isBlip, RegistryFault } from "./RegistryFault.ts"

/** Cut off so many times in a row without a new byte: then it is the durable layer's turn. */
const BLIPS = 4
const BACKOFF_MILLIS = 250

export interface Wanted {
  readonly registry: Registry
  readonly file: ModelFile
  readonly cache: string
  readonly onBytes: (bytes: number) => void
}

export const partialPath = (cache: string, digest: string): string => join(cache, "oci", "partial", digest.replace(":", "-"))

/** Of the file so far, and its length. */
const hashed = async (path: string, size: number): Promise<Hash> => {
  const hash = createHash("sha256")
  if (size > 0) for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  return hash
}

/** The file's path, verified. The caller holds the blob's lock until it has moved the file away. */
export const download = async (wanted: Wanted, signal: AbortSignal): Promise<string> => {
  const { cache, file, onBytes } = wanted
  const path = partialPath(cache, file.digest)
  await mkdir(join(path, ".."), { recursive: true, mode: 0o700 })
  const handle = await open(path, "a", 0o600)
  try {
    let have = (await handle.stat()).size
    if (have > file.size) await handle.truncate(have = 0)
    let hash = await hashed(path, have)
    onBytes(have)
    for (let blips = 0, best = have; have < file.size; ) {
      const before = have
      const state = { have, hash }
      try {
        await append(wanted, handle, state, signal)
        if (state.have <= best && state.have < file.size) throw new RegistryFault("sends less than it was asked for")
      } catch (error) {
        if (error instanceof DigestFault) throw error
        if (signal.aborted || !isCut(error)) throw error
        blips = state.have > best ? 0 : blips + 1
        if (blips >= BLIPS) throw error
        await sleep(BACKOFF_MILLIS * 2 ** blips, undefined, { signal })
      }
      have = state.have
      hash = state.hash
      best = Math.max(best, have)
      if (have < before) onBytes(have - before)
    }
    if (`sha256:${hash.digest("hex")}` !== file.digest) throw new DigestFault(`${file.path} is not what the manifest says: its bytes do not hash to ${file.digest}.`)
    await handle.sync()
    return path
  } catch (error) {
    if (error instanceof DigestFault) await rm(path, { force: true })
    throw error
  } finally {
    await handle.close()
  }
}

const isCut = (error: unknown): boolean => isBlip(error) || (error instanceof RegistryFault && error.status === 0) || codeOf(error) === "ERR_STREAM_PREMATURE_CLOSE"

/** `state` follows what is in the file, also when this rejects. */
const append = async ({ file, onBytes, registry }: Wanted, handle: FileHandle, state: { have: number; hash: Hash }, signal: AbortSignal): Promise<void> => {
  const answer = await registry.openBlob(file.digest, state.have, signal)
  const start = /^bytes (\d+)-/.exec(String(answer.headers["content-range"] ?? ""))?.[1]
  if (answer.status === 416 || (answer.status === 200 && state.have > 0)) {
    // no ranges here, or none beyond this: from the start
    await handle.truncate(0)
    state.have = 0
    state.hash = createHash("sha256")
    if (answer.status === 416) return drained(answer.body)
  }
  if (answer.status === 206 && Number(start) !== state.have) {
    answer.body.destroy()
    throw new RegistryFault("sends other bytes than were asked for")
  }
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    if (state.have + chunk.length > file.size) throw new DigestFault(`${file.path} is longer than the ${file.size} bytes that the manifest says.`)
    await handle.write(chunk)
    state.hash.update(chunk)
    state.have += chunk.length
    onBytes(chunk.length)
  }
}
