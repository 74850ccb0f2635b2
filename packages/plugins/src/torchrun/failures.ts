/** How a training job's end, and the capabilities' errors, become a StageError. Says what to do next; never quotes what the process printed freely, which could hold data. */
import type { JobState } from "@hypernode/engine/capability/Jobs"
import type { SandboxRefused } from "@hypernode/engine/capability/Sandbox"
import { logTail } from "@hypernode/engine/jobs/logTail"
import { StageError } from "@hypernode/engine/stage/StageError"

/** Exit status of the trainer where the same input would fail again (errors.py). */
const FATAL = 65

/**
 * What of the log may be shown: the trainer's own sentences (`error: ...`, written without data), and of a Python traceback the
 * exception's name and the line of our code, not its message.
 */
export const sayable = (log: string): ReadonlyArray<string> => {
  const lines = log.split("\n").flatMap((line) => {
    if (/^(error|warning): /.test(line)) return [line.replace(/^error: /, "")]
    if (/^rank \d+ ended with (signal|status) \d+; starting all ranks again/.test(line)) return [line]
    const exception = /^(?:[a-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Interrupt|Exit))(?::|$)/.exec(line)
    if (exception !== null) return [exception[1]!]
    const frame = /^ {2}File ".*\/(hyper_trainer\/\w+\.py)", line (\d+)/.exec(line)
    return frame === null ? [] : [`at ${frame[1]}:${frame[2]}`]
  })
  return lines.filter((line, index) => line !== lines[index - 1]).slice(-4).map((line) => line.slice(0, 400))
}

const outOfMemory = (log: string): boolean => /OutOfMemoryError|MemoryError|CUDA out of memory|DefaultCPUAllocator: can't allocate memory|Cannot allocate memory/.test(log)
const outOfDisk = (log: string): boolean => /No space left on device|could not be written to/.test(log)

const SMALLER = "Lower batchSize (and raise gradientAccumulation by as much), lower sequenceLength, or train with fewer slots."

/** For a job that did not end well. */
export const trainingFailure = (state: JobState, directory: string): StageError => {
  const log = logTail(directory)
  const said = sayable(log)
  const because = said.length === 0 ? "" : `: ${said.join("; ")}`
  if (state._tag === "Lost") return new StageError({ reason: "JobFailed", message: state.message, remedy: "It is started again from the last checkpoint." })
  if (state._tag !== "Ended") return new StageError({ reason: "Internal", message: "The training job has not ended" })
  if (state.cancelled) return new StageError({ reason: "Cancelled", message: "Training was cancelled" })
  if (outOfDisk(log) || /telemetry could not be written.*ENOSPC/.test(state.note ?? "")) {
    return new StageError({ reason: "OutOfSpace", message: `Training stopped: the disk is full${because}`, remedy: "Free some space where HYPER_HOME lies, then run `hyper resume`: the checkpoints are kept." })
  }
  if (outOfMemory(log)) return new StageError({ reason: "OutOfSpace", message: `Training ran out of memory${because}`, remedy: SMALLER })
  if (state.exitCode === FATAL) {
    const last = said.at(-1) ?? "the trainer refused its input"
    if (/no answer from the lease socket/.test(last)) return new StageError({ reason: "Unavailable", message: last, remedy: "Run `hyper resume`." })
    if (/lease was refused/.test(last)) return new StageError({ reason: "Denied", message: last, remedy: "A later attempt holds the lease, or the data set's key was destroyed: run the pipeline again." })
    if (/do not open with the leased key|cannot be read/.test(last)) return new StageError({ reason: "Corrupt", message: last, remedy: "Run the encrypt step again." })
    return new StageError({ reason: "InvalidInput", message: last, remedy: "Change the option or the data that the message names, and run again." })
  }
  const killed = state.signal === "SIGKILL" || state.exitCode === 137 || /signal 9;|status \[-9\]/.test(log)
  if (killed) {
    return new StageError({ reason: "JobFailed", message: `Training was killed from outside (SIGKILL), most often by the system when memory runs out${because}`, remedy: `It is tried again from the last checkpoint. If it happens again: ${SMALLER}` })
  }
  const how = state.signal === null ? `exit code ${state.exitCode}` : state.signal
  return new StageError({ reason: "JobFailed", message: `Training ended with ${how}${because}${state.note === undefined ? "" : ` (${state.note})`}`, remedy: "See all of its output with `hyper logs`." })
}

export const sandboxFailure = ({ message, remedy }: SandboxRefused): StageError => new StageError({ reason: "Missing", message, remedy })
