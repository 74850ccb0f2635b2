/** What a commit's note and statuses say. No secret, no key of an endpoint, nothing of this machine but what the run is called. */
import { printable } from "../git/printable.ts"
import type { CommitStatus } from "./forge.ts"
import type { FileState, WatchedFile } from "./WatchStore.ts"

export const FINAL: ReadonlySet<FileState> = new Set(["planned", "refused", "unplannable", "succeeded", "failed", "cancelled"])

const statusState: Readonly<Record<FileState, CommitStatus["state"]>> = { planned: "success", refused: "error", unplannable: "failure", running: "pending", succeeded: "success", failed: "failure", cancelled: "error" }

const firstLine = (text: string | null): string => printable((text ?? "").split("\n")[0] ?? "")

export const statusOf = (row: WatchedFile): CommitStatus => ({
  state: statusState[row.state],
  context: `hyper/${row.file}`,
  description:
    row.state === "running" ? `run ${row.runId} is going`
    : row.state === "succeeded" ? `run ${row.runId} succeeded${row.endpoint === null ? "" : `: ${row.endpoint}`}`
    : row.state === "failed" || row.state === "cancelled" ? `run ${row.runId} ${row.state}: ${firstLine(row.message)}`
    : row.state === "planned" ? "plans; not run"
    : row.state === "refused" ? `refused: ${firstLine(row.message)}`
    : `does not plan: ${firstLine(row.message)}`
})

/** The note under refs/notes/hyper, one JSON document a commit. */
export const noteOf = (commit: string, branch: string, rows: ReadonlyArray<WatchedFile>): string =>
  `${JSON.stringify(
    {
      hyper: 1,
      commit,
      branch,
      pipelines: rows.map(({ dollars, endpoint, file, message, planDigest, remedy, runId, state }) => ({
        file: printable(file),
        state,
        ...(runId === null ? {} : { run: runId }),
        ...(planDigest === null ? {} : { plan: planDigest }),
        ...(endpoint === null ? {} : { endpoint }),
        ...(dollars === null ? {} : { dollars }),
        ...(message === null ? {} : { message }),
        ...(remedy === null ? {} : { remedy })
      }))
    },
    null,
    1
  )}\n`
