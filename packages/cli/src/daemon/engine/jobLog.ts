/** A piece of a job's output.log. The log belongs to the supervisor; it is only ever read here. */
import type { LogChunk } from "@hypernode/api/contract/views"
import { JobHandle } from "@hypernode/engine/capability/Jobs"
import type { Run } from "@hypernode/engine/run/Run"
import { Option, Schema } from "effect"
import { open } from "node:fs/promises"
import { join } from "node:path"

const CHUNK = 256 * 1024

const newestJob = (run: Run, stepId: string | undefined) => {
  const steps = run.steps.filter((s) => s.job !== undefined && (stepId === undefined || s.id === stepId))
  const step = steps.toSorted((a, b) => (a.startedAt ?? 0) - (b.startedAt ?? 0)).at(-1)
  const handle = Schema.decodeUnknownOption(JobHandle)(step?.job)
  return step === undefined || Option.isNone(handle) ? undefined : { step, handle: handle.value }
}

/** Cut at the last whole UTF-8 character, so that two chunks never split one. */
const wholeCharacters = (buffer: Buffer): Buffer => {
  let end = buffer.length
  for (let back = 1; back <= Math.min(3, end); back++) {
    const byte = buffer[end - back] as number
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
      if (length > back) end -= back
      break
    }
    if (byte < 0x80) break
  }
  return buffer.subarray(0, end)
}

export const readJobLog = async (run: Run, stepId: string | undefined, offset: number): Promise<LogChunk> => {
  const job = newestJob(run, stepId)
  if (job === undefined) return { text: "", nextOffset: offset }
  const where = { stepId: job.step.id, ...(job.step.attempts.length === 0 ? {} : { attempt: job.step.attempts.length }) }
  try {
    await using file = await open(join(job.handle.directory, "output.log"), "r")
    const { bytesRead, buffer } = await file.read(Buffer.alloc(CHUNK), 0, CHUNK, offset)
    const text = wholeCharacters(buffer.subarray(0, bytesRead))
    return { text: text.toString("utf8"), nextOffset: offset + text.length, ...where }
  } catch {
    return { text: "", nextOffset: offset, ...where }
  }
}
