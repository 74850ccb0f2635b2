/** From the log of a container that did not come up to a stage's error. */
import type { JobState } from "@hypernode/engine/capability/Jobs"
import { saysDiskFull } from "@hypernode/engine/containers/whyEnded"
import { lastLines } from "@hypernode/engine/jobs/logTail"
import { StageError } from "@hypernode/engine/stage/StageError"

/** How ownContainer.ts begins what it says itself. */
const OWN = "error: container: "

const quoted = (log: string, lines: number): string => (log.trim() === "" ? "" : ` Its last words:\n${lastLines(log, lines)}`)

export const startFailure = (log: string, state?: JobState): StageError => {
  const own = log.split("\n").findLast((line) => line.startsWith(OWN))?.slice(OWN.length)
  if (own?.startsWith("Cannot allocate memory") === true) {
    return new StageError({ reason: "OutOfSpace", message: `The container of the model server ran out of memory: ${own}`, remedy: "Give it more (container({ memory }) in MiB), serve a smaller model, or free some memory." })
  }
  if (saysDiskFull(log)) return new StageError({ reason: "OutOfSpace", message: `The container of the model server ran out of disk.${quoted(log, 3)}`, remedy: "Free some space where the engine keeps its data (docker system df), then run `hyper resume`. Its /tmp lies in memory: half of its limit." })
  if (own !== undefined) return new StageError({ reason: "Unavailable", message: own })
  const code = state?._tag === "Ended" ? ` with exit code ${state.exitCode}` : ""
  return new StageError({ reason: "JobFailed", message: `The container of the model server ended${code} before it was ready.${quoted(log, 6)}`, remedy: "Run the image by hand (docker run) to see more; options of the server in it go into container({ command, env })." })
}

export const notReady = (log: string, seconds: number): StageError =>
  new StageError({
    reason: "InvalidInput",
    message: `The container runs and is not ready after ${seconds} s: nothing answers GET /health.${quoted(log, 6)}`,
    remedy: "Check `port` and `command` against the image; a large model may need more: container({ readySeconds })."
  })
