/** From a server's last words to a stage's error. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs"
import { join } from "node:path"
import type { JobError } from "@hypernode/engine/capability/Jobs"
import { StageError } from "@hypernode/engine/stage/StageError"

const TAIL = 16 * 1024

/** The end of a job's log. */
export const logTail = (directory: string): string => {
  try {
    const fd = openSync(join(directory, "output.log"), "r")
    try {
      const { size } = fstatSync(fd)
      const bytes = Buffer.alloc(Math.min(size, TAIL))
      readSync(fd, bytes, 0, bytes.length, size - bytes.length)
      return bytes.toString("utf8")
    } finally {
      closeSync(fd)
    }
  } catch {
    return ""
  }
}

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

const lines = (log: string, count: number): string => log.trimEnd().split("\n").slice(-count).join("\n")

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
  if (/MemoryError|OutOfMemoryError/.test(log)) return new StageError({ reason: "OutOfSpace", message: `The model server ran out of memory:\n${lines(log, 3)}`, remedy: "Serve a smaller model, or free some memory." })
  if (!log.includes("Traceback")) {
    return new StageError({ reason: "OutOfSpace", message: `The model server was ended while it loaded, without a word of its own: most likely by the system, for lack of memory.${log.trim() === "" ? "" : `\n${lines(log, 3)}`}`, remedy: "Free some memory or serve a smaller model; the kernel's log (dmesg) says whether it was that." })
  }
  return new StageError({ reason: "JobFailed", message: `The model server ended before it was ready. Its last words:\n${lines(log, 6)}` })
}

export const notReady = (log: string, seconds: number): StageError =>
  new StageError({ reason: "Unavailable", message: `The model server is not ready after ${seconds} s. Its last words:\n${lines(log, 6)}` })

export const jobFailure = (error: JobError): StageError =>
  new StageError({ reason: "Unavailable", message: error.message, ...(error.remedy === undefined ? {} : { remedy: error.remedy }) })
