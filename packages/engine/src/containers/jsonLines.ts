/** The engine's event streams: one JSON document a line, cut anywhere by the network. */
export async function* jsonLines<A>(stream: NodeJS.ReadableStream): AsyncGenerator<A> {
  let rest = ""
  const decoder = new TextDecoder()
  for await (const chunk of stream) {
    rest += decoder.decode(chunk as Buffer, { stream: true })
    const lines = rest.split("\n")
    rest = lines.pop() ?? ""
    for (const line of lines) if (line.trim() !== "") yield JSON.parse(line) as A
  }
  if (rest.trim() !== "") yield JSON.parse(rest) as A
}
