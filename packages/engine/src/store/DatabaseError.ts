/**
 * Why the database cannot be used. `message` says what and where, `remedy` what to do next; neither ever holds the password that
 * `DATABASE_URL` may carry.
 */
import * as Schema from "effect/Schema"

export const DatabaseErrorReason = Schema.Literals([
  "MissingBinaries", // no PostgreSQL for this platform
  "Unwritable", // the directory refuses
  "DiskFull",
  "NewerData", // the files were written by another major version of PostgreSQL
  "NewerSchema", // the tables were written by a newer hyper
  "Unreachable", // nothing answers, or the login is refused
  "Failed" // anything else, with the server's own words
])
export type DatabaseErrorReason = typeof DatabaseErrorReason.Type

export class DatabaseError extends Schema.TaggedError<DatabaseError>()("DatabaseError", {
  reason: DatabaseErrorReason,
  message: Schema.String,
  remedy: Schema.optionalKey(Schema.String)
}) {}

const spaceRemedy = "free some space on that disk, or move HYPER_HOME to a larger one"
const placeRemedy = "make the directory writable for this user, or set HYPER_HOME to one that is"

/** From a failed system call (`error.code`) or from the words of initdb and postgres. `where` names the path or the action. */
export const databaseErrorFrom = (where: string, cause: unknown): DatabaseError => {
  if (cause instanceof DatabaseError) return cause
  const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""
  const text = cause instanceof Error ? cause.message : String(cause)
  if (code === "ENOSPC" || code === "EDQUOT" || /No space left on device|Disk quota exceeded/.test(text)) {
    return new DatabaseError({ reason: "DiskFull", message: `${where}: the disk is full`, remedy: spaceRemedy })
  }
  // Node's recursive mkdir says ENOENT on a read-only file system
  const mkdir = typeof cause === "object" && cause !== null && "syscall" in cause && cause.syscall === "mkdir"
  if (mkdir || code === "EACCES" || code === "EPERM" || code === "EROFS" || code === "ENOTDIR" || /Permission denied|Read-only file system|Operation not permitted/.test(text)) {
    return new DatabaseError({ reason: "Unwritable", message: `${where}: cannot write there (${code === "" ? lastLine(text) : code})`, remedy: placeRemedy })
  }
  return new DatabaseError({ reason: "Failed", message: `${where}: ${lastLine(text)}`, remedy: "`hyper doctor` looks further; DATABASE_URL can point at another PostgreSQL" })
}

/** PostgreSQL's log ends with shutdown chatter; the reason stands in the last FATAL, PANIC or error line. */
const lastLine = (text: string): string => {
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "")
  return lines.findLast((line) => /\b(FATAL|PANIC|error):/.test(line)) ?? lines.at(-1) ?? "no reason given"
}
