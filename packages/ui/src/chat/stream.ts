/** An OpenAI chat completion, streamed. Yields text as it comes, and the usage at the end. */
import { problemFrom } from "../api/client.ts"

export interface Message {
  readonly role: "system" | "user" | "assistant"
  readonly content: string
}

export interface Piece {
  readonly text: string
  readonly tokens?: number
}

export async function* chat(url: string, messages: ReadonlyArray<Message>, settings: { readonly temperature: number; readonly max_tokens: number }, signal: AbortSignal): AsyncGenerator<Piece> {
  const response = await fetch(url, {
    method: "POST",
    credentials: "same-origin",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ messages, stream: true, ...settings }),
    signal
  })
  if (!response.ok) throw await problemFrom(response)
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let buffer = ""
  while (true) {
    const { done, value } = await reader.read()
    buffer += value ?? ""
    const lines = buffer.split("\n")
    buffer = done ? "" : lines.pop()!
    for (const line of lines) {
      if (!line.startsWith("data:")) continue
      const data = line.slice(5).trim()
      if (data === "[DONE]") return
      const chunk = JSON.parse(data) as { choices?: Array<{ delta?: { content?: string } }>; usage?: { completion_tokens?: number } | null }
      const text = chunk.choices?.[0]?.delta?.content ?? ""
      const tokens = chunk.usage?.completion_tokens
      if (text !== "" || tokens !== undefined) yield { text, ...(tokens === undefined ? {} : { tokens }) }
    }
    if (done) return
  }
}
