/** The files of a job directory, by name, and how they are read. Node only, no effect: the supervisor imports this file. */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { JobSpec, JobState } from "../capability/Jobs.ts"
import type { ProcessIdentity } from "./ProcessIdentity.ts"

/** The same key gives the same job. */
export const jobIdOf = (jobKey: string): string => createHash("sha256").update(jobKey).digest("hex").slice(0, 16)

/** `spec.json`: the spec without `stdin`, which never touches the disk. */
export type StoredSpec = Omit<JobSpec, "stdin"> & { readonly job: string }

/** What the Jobs layer writes into the supervisor's standard input. */
export interface Handover {
  readonly version: 1
  readonly job: string
  readonly spec: JobSpec
  /** the node's ed25519 private key, PKCS 8 PEM */
  readonly nodeKey: string
}

/**
 * The job's directory, in the environment of its process, and so of all its descendants: how those are found that left its process
 * group. Not the job's id: that follows from the key alone, and another home may have one of the same.
 * The one variable that a job has besides those of its spec.
 */
export const JOB_VARIABLE = "HYPER_JOB"

export const GRACE_MILLIS = 10_000

export const jobFiles = (directory: string) => ({
  spec: join(directory, "spec.json"),
  supervisor: join(directory, "supervisor.json"),
  child: join(directory, "child.json"),
  status: join(directory, "status.json"),
  output: join(directory, "output.log"),
  supervisorLog: join(directory, "supervisor.log"),
  telemetry: join(directory, "telemetry.jsonl"),
  batches: join(directory, "batches.jsonl")
})

/** Undefined where the file is not there or is not (yet) whole. */
const readJson = (path: string): unknown => {
  try {
    return JSON.parse(readFileSync(path, "utf8"))
  } catch {
    return undefined
  }
}

export const readSpec = (directory: string): StoredSpec | undefined => readJson(jobFiles(directory).spec) as StoredSpec | undefined

export const readIdentity = (path: string): ProcessIdentity | undefined => {
  const value = readJson(path) as Partial<ProcessIdentity> | undefined
  return typeof value?.pid === "number" && typeof value.bootId === "string" && typeof value.startTime === "string" ? { pid: value.pid, bootId: value.bootId, startTime: value.startTime } : undefined
}

export const readStatus = (directory: string): JobState | undefined => {
  const value = readJson(jobFiles(directory).status) as JobState | undefined
  return typeof value?._tag === "string" ? value : undefined
}
