/**
 * Ended pure steps by cache key: SQL is the truth, a file per key beside it lets `hyper plan` say what is cached without a database.
 * A file that is missing or unreadable is a miss there, nothing more.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Home } from "../Home.ts"

export interface CacheEntry {
  readonly output: unknown
  readonly runId: string
}

const pathOf = (home: Home, tenant: string, cacheKey: string): string => join(home.root, "steps", encodeURIComponent(tenant), `${cacheKey.replace(":", "-")}.json`)

export const noteCached = (home: Home, tenant: string, cacheKey: string, entry: CacheEntry): void => {
  const path = pathOf(home, tenant, cacheKey)
  mkdirSync(join(path, ".."), { recursive: true, mode: 0o700 })
  const temporary = `${path}.${process.pid}`
  writeFileSync(temporary, JSON.stringify(entry), { mode: 0o600 })
  renameSync(temporary, path)
}

export const peekCached = (home: Home, tenant: string, cacheKey: string): CacheEntry | undefined => {
  try {
    return JSON.parse(readFileSync(pathOf(home, tenant, cacheKey), "utf8")) as CacheEntry
  } catch {
    return undefined
  }
}
