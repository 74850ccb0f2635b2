/** From a server's last words to a stage's error. */
import { lastLines } from "@hypernode/engine/jobs/logTail"
import { StageError } from "@hypernode/engine/stage/StageError"

interface LastWords {
  readonly code: string
  readonly message: string
}

/** The line by which our Python says that it cannot go on. */
export const lastWords = (log: string): LastWords | undefined => {
  const line = log.split("\n").findLast((candidate) => candidate.startsWith("hyper-serve fatal "))
  try {
    return line === undefined ? undefined : (JSON.parse(line.slice("hyper-serve fatal ".length)) as LastWords)
  } catch {
    return undefined
  }
}

/** A server that ended while it should have become ready. */
export const startFailure = (log: string): StageError => {
  const words = lastWords(log)
  switch (words?.code) {
    case "out_of_memory":
      return new StageError({ reason: "OutOfSpace", message: words.message, remedy: "Serve a smaller model, free some memory (`hyper endpoints` lists what else is served), or serve on a machine with more." })
    case "address_in_use":
      return new StageError({ reason: "InvalidInput", message: words.message, remedy: "Leave `port` out of transformers(...): then no port is needed. Or choose one that is free." })
    case "no_device":
      return new StageError({ reason: "InvalidInput", message: words.message, remedy: 'Leave `device` out, or write device: "cpu".' })
    case "no_tokenizer":
    case "no_model":
      return new StageError({ reason: "InvalidInput", message: words.message, remedy: "Serve what the checkpoint stage exports; an adapter that cannot be merged here is merged there with safetensors({ merge: true })." })
  }
  if (words !== undefined) return new StageError({ reason: "JobFailed", message: words.message })
  if (/MemoryError|OutOfMemoryError/.test(log)) return new StageError({ reason: "OutOfSpace", message: `The model server ran out of memory:\n${lastLines(log, 3)}`, remedy: "Serve a smaller model, or free some memory." })
  if (!log.includes("Traceback")) {
    return new StageError({ reason: "OutOfSpace", message: `The model server was ended while it loaded, without a word of its own: most likely by the system, for lack of memory.${log.trim() === "" ? "" : `\n${lastLines(log, 3)}`}`, remedy: "Free some memory or serve a smaller model; the kernel's log (dmesg) says whether it was that." })
  }
  return new StageError({ reason: "JobFailed", message: `The model server ended before it was ready. Its last words:\n${lastLines(log, 6)}` })
}
