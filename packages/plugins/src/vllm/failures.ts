/**
 * From vLLM's log to a stage's error. The sentences are those of vLLM 0.32: recorded from a real one (test/vllm/recorded), but for a
 * GPU's memory, whose sentences were read in its source.
 */
import type { JobState } from "@hypernode/engine/capability/Jobs"
import { lastLines } from "@hypernode/engine/jobs/logTail"
import { StageError } from "@hypernode/engine/stage/StageError"

const SMALLER = "Lower maxModelLen or maxSequences, raise gpuMemoryUtilization if nothing else uses the GPU, spread the model with tensorParallel, or serve a smaller model. `hyper endpoints` lists what else is served here."

/** The exception that ended it, without what stands before it in every line of a worker's log. */
const reasonIn = (log: string): string | undefined => {
  const lines = log.split("\n").map((line) => line.replace(/^\(\w+ pid=\d+\) (?:\w+ \d\d-\d\d [\d:]+ \[[\w.]+:\d+\] )?/, "").trim())
  const line =
    lines.find((candidate) => candidate.startsWith("Value error, ")) ??
    lines.find((candidate) => /^(?:[\w.]+\.)?\w*(?:Error|Exception)\b.*: \S/.test(candidate) && !/Engine core initialization failed|ValidationError/.test(candidate)) ??
    lines.find((candidate) => candidate.startsWith("vllm: error: "))
  return line?.replace(/^Value error, |^vllm: error: /, "").replace(/ \[type=.*$/, "").slice(0, 400)
}

const memory = [/less than requested memory for kv/, /No available memory for the cache blocks/, /Free memory on device/, /larger than the available KV cache/, /OutOfMemoryError|out of memory|MemoryError|can't allocate memory|Cannot allocate memory/i]

export const startFailure = (log: string, state: JobState): StageError => {
  const reason = reasonIn(log)
  const note = state._tag === "Ended" ? (state.note ?? "") : ""
  const how = state._tag === "Ended" ? (state.signal ?? `exit code ${state.exitCode}`) : state._tag === "Lost" ? "its supervisor gone" : "started again by its supervisor"
  if (/did not start/.test(note)) return new StageError({ reason: "Missing", message: `vLLM could not be started: ${note}`, remedy: "Check that HYPER_VLLM, or `vllm` on the PATH, is a program of a whole installation." })
  if (memory.some((sign) => sign.test(log))) return new StageError({ reason: "OutOfSpace", message: `vLLM has not enough memory for the model: ${reason ?? lastLines(log, 2)}`, remedy: SMALLER })
  if (/Errno 98|address already in use/i.test(log)) return new StageError({ reason: "InvalidInput", message: "vLLM cannot listen on its port: it is in use.", remedy: "Leave `port` out of vllm(...): then no port is needed. Or choose one that is free." })
  if (/unrecognized arguments/.test(log)) return new StageError({ reason: "Missing", message: `This vLLM does not know an option that is needed: ${reason}`, remedy: "Update it: vLLM 0.11 or later." })
  if (/Failed to infer device type|No CUDA GPUs are available/.test(log)) return new StageError({ reason: "Missing", message: `vLLM finds no device to run on: ${reason ?? "no GPU"}`, remedy: "Check the GPU's driver with nvidia-smi (or rocm-smi); for a CPU it takes a build of vLLM for CPUs." })
  if (/max_model_len .* is greater than/.test(log)) return new StageError({ reason: "InvalidInput", message: `maxModelLen is more than the model was made for: ${reason?.split(". ")[0]}`, remedy: "Lower it, or leave it out." })
  if (/does not recognize this architecture|are not supported for now|is not supported|has no vLLM implementation/.test(log)) return new StageError({ reason: "InvalidInput", message: `vLLM does not know this model's architecture: ${reason ?? lastLines(log, 2)}`, remedy: "Update vLLM, or serve with transformers()." })
  if (/SafetensorError/.test(log)) return new StageError({ reason: "InvalidInput", message: `The weights cannot be read: ${reason}`, remedy: "Run the checkpoint step again." })
  if (!/Traceback|Error/.test(log)) {
    return new StageError({ reason: "OutOfSpace", message: `vLLM was ended while it loaded, without a word of its own (${how}): most likely by the system, for lack of memory.${log.trim() === "" ? "" : `\n${lastLines(log, 3)}`}`, remedy: "Free some memory or serve a smaller model; the kernel's log (dmesg) says whether it was that." })
  }
  return new StageError({ reason: "JobFailed", message: `vLLM ended before it was ready (${how}): ${reason ?? `its last words:\n${lastLines(log, 6)}`}`, remedy: "Its whole log: `hyper logs`." })
}
