/** Reads a server-sent event stream frame by frame. */
export interface Frame {
  readonly event: string
  readonly id: string
  readonly data: any
}

export const openStream = async (url: string, headers: Record<string, string>) => {
  const abort = new AbortController()
  const response = await fetch(url, { headers, signal: abort.signal })
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let buffer = ""
  const frames: Array<Frame> = []
  let ended = false
  const next = async (): Promise<boolean> => {
    const { done, value } = await reader.read()
    if (done) {
      ended = true
      return false
    }
    buffer += value
    let at: number
    while ((at = buffer.indexOf("\n\n")) >= 0) {
      const lines = buffer.slice(0, at).split("\n")
      buffer = buffer.slice(at + 2)
      const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
      if (field("data") !== undefined) frames.push({ event: field("event") ?? "message", id: field("id") ?? "", data: JSON.parse(field("data")!) })
    }
    return true
  }
  return {
    status: response.status,
    headers: response.headers,
    frames,
    /** Reads on until `enough` holds or the stream ends. */
    until: async (enough: (frames: ReadonlyArray<Frame>) => boolean): Promise<ReadonlyArray<Frame>> => {
      while (!enough(frames) && (await next())) { /* reading */ }
      return frames
    },
    get ended() {
      return ended
    },
    close: () => abort.abort()
  }
}
