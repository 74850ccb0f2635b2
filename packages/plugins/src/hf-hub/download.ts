/** One file of a commit into the cache: goes on where it was cut off, checks what came, keeps nothing that is wrong. */
import type { FileHandle } from "node:fs/promises"
import { promises as fs } from "node:fs"
import { dirname } from "node:path"
import { releaseLock, takeLock } from "../trainer/BuildLock.ts"
import { cachePaths, feed, hasBlob, hashFor, isContent, sizeOf } from "./BlobCache.ts"
import type { HubClient, HubEntry, HubRepo } from "./Client.ts"
import { DigestFault, HubFault } from "./HubFault.ts"

/** Cut off so many times in a row without one new byte: then it is the durable layer's turn. */
const BLIPS = 4
const IDLE_MILLIS = 60_000

export interface Wanted {
  readonly client: HubClient
  readonly repo: HubRepo
  readonly commit: string
  readonly entry: HubEntry
  readonly cache: string
  readonly signal: AbortSignal
  /** bytes that have come (or were there) since the last call */
  readonly onBytes: (bytes: number) => void
}

const pause = (millis: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const stop = (): void => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop)
      resolve()
    }, millis)
    signal.addEventListener("abort", stop, { once: true })
  })

/** Path of the verified blob. Rejects with HubFault, DigestFault, or the system's error. */
export const download = async (wanted: Wanted): Promise<string> => {
  const { cache, entry, onBytes, signal } = wanted
  const paths = cachePaths(cache)
  const blob = paths.blob(entry)
  for (;;) {
    if (await hasBlob(blob, entry)) {
      onBytes(entry.size)
      return blob
    }
    if (takeLock(paths.lock(entry))) break
    await pause(300, signal) // another process downloads it
  }
  try {
    if (await hasBlob(blob, entry)) onBytes(entry.size)
    else await fetchTo(wanted, paths.partial(entry), blob)
    return blob
  } finally {
    releaseLock(paths.lock(entry))
  }
}

const fetchTo = async (wanted: Wanted, partial: string, blob: string): Promise<void> => {
  const { entry, onBytes, repo, signal } = wanted
  await fs.mkdir(dirname(partial), { recursive: true, mode: 0o700 })
  await fs.mkdir(dirname(blob), { recursive: true, mode: 0o700 })
  if ((await sizeOf(partial)) > entry.size) await fs.rm(partial, { force: true })
  const file = await fs.open(partial, "a", 0o600)
  try {
    let have = (await file.stat()).size
    onBytes(have)
    // the most that there ever was: storage that starts again and again from nothing makes no progress
    let best = have
    for (let blips = 0; have < entry.size; ) {
      signal.throwIfAborted()
      try {
        have = await append(wanted, file, have)
        if (have <= best && have < entry.size) throw new HubFault(0, "Short", "an answer without the bytes that were asked for")
      } catch (error) {
        if (error instanceof DigestFault) await fs.rm(partial, { force: true })
        const status = error instanceof HubFault ? error.status : 0
        // what the hub refuses with, and a disk that is full, do not get better by asking again at once
        if (signal.aborted || status >= 400 || error instanceof DigestFault || isLocal(error)) throw error
        have = (await file.stat()).size
        blips = have > best ? 0 : blips + 1
        if (blips >= BLIPS) throw error
        await pause(250 * 2 ** blips, signal)
      }
      best = Math.max(best, have)
    }
    const hash = hashFor(entry)
    await feed(hash, partial)
    if (!isContent(hash, entry)) {
      await fs.rm(partial, { force: true })
      throw new DigestFault(`${entry.path} of ${repo.name} is not what the hub's list says: its ${entry.content.split(":")[0]} digest differs from ${entry.content}.`)
    }
    await file.sync()
  } finally {
    await file.close()
  }
  await fs.rename(partial, blob)
}

const isLocal = (error: unknown): boolean => ["ENOSPC", "EDQUOT", "EFBIG", "EACCES", "EROFS", "EIO"].includes((error as NodeJS.ErrnoException).code ?? "")

/** Bytes in the file afterwards. What came before a cut is in the file also when this rejects. */
const append = async ({ client, commit, entry, onBytes, repo, signal }: Wanted, file: FileHandle, from: number): Promise<number> => {
  const idle = new AbortController()
  let timer = setTimeout(() => idle.abort(new Error("no bytes for a minute")), IDLE_MILLIS)
  try {
    const response = await client.open(repo, commit, entry.path, from, AbortSignal.any([signal, idle.signal]))
    let have = from
    if (response.status !== 206 && from > 0) {
      // no ranges here (200), or none beyond this (416): from the start
      await file.truncate(0)
      onBytes(-from)
      have = 0
      if (response.status === 416) return have
    }
    const start = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1]
    if (response.status === 206 && Number(start) !== from) throw new HubFault(0, "BadRange", `bytes from ${start} where ${from} was asked for`)
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      clearTimeout(timer)
      timer = setTimeout(() => idle.abort(new Error("no bytes for a minute")), IDLE_MILLIS)
      if (have + chunk.length > entry.size) throw new DigestFault(`${entry.path} of ${repo.name} is longer than the ${entry.size} bytes that the hub's list says.`)
      await file.write(chunk)
      have += chunk.length
      onBytes(chunk.length)
    }
    return have
  } finally {
    clearTimeout(timer)
  }
}
