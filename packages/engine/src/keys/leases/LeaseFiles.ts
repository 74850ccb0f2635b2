/**
 * What a lease leaves on disk, under `<home>/leases` (0700): `<job>.json`, the grant with hashes of its tokens, and `<job>.log`, its
 * releases. No token and no key is in either. A job's file name is a hash of its id, because an id may hold any character.
 */
import { createHash, randomBytes } from "node:crypto"
import { constants, promises as fs } from "node:fs"
import { join } from "node:path"
import * as Schema from "effect/Schema"
import { Shards } from "../../stage/values.ts"

export const GrantRecord = Schema.Struct({
  v: Schema.Literal(1),
  jobId: Schema.String,
  runId: Schema.String,
  node: Schema.String,
  shards: Shards,
  /** epoch milliseconds */
  expiresAt: Schema.Int,
  fencingToken: Schema.Int,
  revoked: Schema.Boolean,
  /** sha-256 of each slot's token, hex, by position in `shards.slots` */
  tokenHashes: Schema.Array(Schema.String),
  /** of earlier grants for this job, so that a straggler is told what happened */
  retiredHashes: Schema.Array(Schema.String),
  /** entries of the log and the digest of the last one: what is missing at the log's end shows */
  released: Schema.Struct({ count: Schema.Int, head: Schema.String })
})
export type GrantRecord = typeof GrantRecord.Type

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(GrantRecord))

export const jobName = (jobId: string): string => createHash("sha256").update(jobId).digest("hex").slice(0, 24)

export interface LeaseFiles {
  readonly directory: string
  readonly logOf: (jobId: string) => string
  /** Undefined where the job has no grant. Throws where the file is damaged. */
  readonly read: (jobId: string) => Promise<GrantRecord | undefined>
  /** Atomic: whole or as it was. */
  readonly write: (record: GrantRecord) => Promise<void>
  readonly all: () => Promise<ReadonlyArray<GrantRecord>>
}

const absent = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT"

const load = async (path: string): Promise<GrantRecord | undefined> => {
  const text = await fs.readFile(path, "utf8").catch((error) => (absent(error) ? undefined : Promise.reject(error)))
  if (text === undefined) return undefined
  try {
    return decode(text)
  } catch {
    throw new Error(`${path} is damaged: it is not the grant that this program wrote.`)
  }
}

export const leaseFiles = async (directory: string): Promise<LeaseFiles> => {
  await fs.mkdir(directory, { recursive: true, mode: 0o700 })
  const pathOf = (jobId: string): string => join(directory, `${jobName(jobId)}.json`)
  return {
    directory,
    logOf: (jobId) => join(directory, `${jobName(jobId)}.log`),
    read: (jobId) => load(pathOf(jobId)),
    write: async (record) => {
      const temporary = join(directory, `.${randomBytes(9).toString("hex")}`)
      try {
        const handle = await fs.open(temporary, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600)
        await handle.writeFile(JSON.stringify(record)).then(() => handle.sync()).finally(() => handle.close())
        await fs.rename(temporary, pathOf(record.jobId))
      } finally {
        await fs.rm(temporary, { force: true })
      }
      const parent = await fs.open(directory, constants.O_RDONLY)
      await parent.sync().catch(() => undefined).finally(() => parent.close())
    },
    all: async () => {
      const names = (await fs.readdir(directory)).filter((name) => /^[0-9a-f]{24}\.json$/.test(name))
      return (await Promise.all(names.map((name) => load(join(directory, name))))).filter((record) => record !== undefined)
    }
  }
}
