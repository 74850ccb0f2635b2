/** A watch's events as lines: the commit first, then what became of it. */
import type { WatchEvent } from "@hypernode/engine/watch/WatchEvent"

const short = (commit: string): string => commit.slice(0, 12)

/** The first line of a message beside the commit, the rest and the remedy below it. */
const told = (head: string, message: string, remedy: string | undefined): ReadonlyArray<string> => {
  const [first = "", ...rest] = message.split("\n")
  return [`${head}: ${first}`, ...[...rest, ...(remedy === undefined ? [] : remedy.split("\n").map((line) => `→ ${line}`))].map((line) => `    ${line}`)]
}

export const watchLines = (event: WatchEvent): ReadonlyArray<string> => {
  switch (event.type) {
    case "watching":
      return [`Watching ${event.branch} of ${event.repository}${event.path === "" ? "" : `, ${event.path}`}. Pipeline files are evaluated in ${event.evaluation === "bubblewrap" ? "bubblewrap" : "Node's permission model (no bubblewrap here)"}. Ctrl-C ends the watch; runs go on.`]
    case "head":
      return event.skipped === 0 ? [] : [`${short(event.commit)}  ${event.skipped} older commits of this push were passed over: at most ${event.commits} are handled at once`]
    case "commit":
      return [`${short(event.commit)}  ${event.files.length === 0 ? "no pipeline file added or changed" : event.files.join(", ")}`]
    case "planned":
      return [`${short(event.commit)}  ${event.file}: plans (${event.planDigest.slice(0, 19)}); ${event.message}`]
    case "refused":
      return told(`${short(event.commit)}  ${event.file}: refused`, event.message, event.remedy)
    case "unplannable":
      return told(`${short(event.commit)}  ${event.file}: does not plan`, event.message, event.remedy)
    case "run":
      return [`${short(event.commit)}  ${event.file}: run ${event.runId}`]
    case "ended":
      return [`${short(event.commit)}  ${event.file}: run ${event.runId} ${event.state}${event.message === undefined ? "" : `: ${event.message}`}`]
    case "reported":
      return [`${short(event.commit)}  ${event.target === "note" ? "note pushed" : `status sent: ${event.state}`}`]
    case "unreported":
      return told(`${short(event.commit)}  ${event.target === "note" ? "the note was not pushed" : "the status was not sent"}${event.again ? ", and is tried again" : ""}`, event.message, event.remedy)
    case "trouble":
      return told("Waiting", event.message, event.remedy)
    case "end":
      return event.message === undefined ? [] : [event.message]
  }
}
