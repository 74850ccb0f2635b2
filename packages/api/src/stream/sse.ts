/** Frames of a server-sent event stream, and the cursor that lets a client go on where it was cut off. */

export interface StreamCursor {
  /** last event of the run */
  seq: number
  /** last sample */
  sample: number
  /** `step~attempt` whose output is being followed, and how many bytes of it were sent */
  job: string
  offset: number
}

export const startCursor = (): StreamCursor => ({ seq: 0, sample: 0, job: "", offset: 0 })

/** Begins with `seq`, so `parseInt(id)` is the run's last event. The rest follows only where there is something to say. */
export const formatCursor = (cursor: StreamCursor): string =>
  cursor.sample === 0 && cursor.job === "" ? `${cursor.seq}` : `${cursor.seq}.${cursor.sample}${cursor.job === "" ? "" : `.${cursor.job}~${cursor.offset}`}`

/** From `Last-Event-ID` or `?after=`. What does not parse starts from the beginning: replaying is safe. */
export const parseCursor = (id: string | undefined): StreamCursor => {
  const match = /^(\d{1,15})(?:\.(\d{1,15})(?:\.([A-Za-z0-9_-]{1,100}~\d{1,9})~(\d{1,15}))?)?$/.exec(id ?? "")
  if (match === null) return startCursor()
  return { seq: Number(match[1]), sample: Number(match[2] ?? 0), job: match[3] ?? "", offset: Number(match[4] ?? 0) }
}

export const frame = (event: string, id: string | undefined, data: unknown): string =>
  `event: ${event}\n${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`
