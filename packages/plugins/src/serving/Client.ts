/** OpenAI's words, spoken to a model server directly and, with the official client, through the gateway like any user. */
import { request } from "node:http"

/** `upstream` is as the gateway has it: `unix:<socket>` or `http://127.0.0.1:<port>`. Rejects where nothing answers within `millis`. */
export const call = (upstream: string, method: "GET" | "POST", path: string, body: unknown, millis: number): Promise<{ readonly status: number; readonly text: string }> =>
  new Promise((resolve, reject) => {
    const target = upstream.startsWith("unix:") ? { socketPath: upstream.slice(5), host: "localhost" } : { hostname: new URL(upstream).hostname, port: new URL(upstream).port }
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
    const outgoing = request({ ...target, agent: false, method, path, timeout: millis, headers: payload === undefined ? {} : { "content-type": "application/json", "content-length": payload.length } }, (response) => {
      let text = ""
      response.setEncoding("utf8")
      response.on("data", (part: string) => (text += part))
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }))
      response.on("error", reject)
    })
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${millis / 1000} s`)))
    outgoing.on("error", reject)
    outgoing.end(payload)
  })

/** The body of `GET /health`; undefined while nothing answers there. */
export const health = async (upstream: string): Promise<string | undefined> => {
  try {
    const { status, text } = await call(upstream, "GET", "/health", undefined, 5000)
    return status === 200 ? text : undefined
  } catch {
    return undefined
  }
}

const HEALTH_QUESTION = "Hello"
/** The first completion of a large model compiles and loads for minutes. */
const COMPLETION_MILLIS = 300_000

/** One token from the server itself, before anybody is sent to it. Rejects with what it answered instead. */
export const completeDirectly = async (upstream: string, model: string, chat: boolean): Promise<void> => {
  const said = chat ? { messages: [{ role: "user", content: HEALTH_QUESTION }] } : { prompt: HEALTH_QUESTION }
  const { status, text } = await call(upstream, "POST", chat ? "/v1/chat/completions" : "/v1/completions", { model, max_tokens: 1, ...said }, COMPLETION_MILLIS)
  if (status !== 200) throw new Error(`HTTP ${status}: ${text.slice(0, 500)}`)
}

/** What to ask an endpoint. `max_tokens` and not its newer name, which not every server knows. */
export interface Wish {
  readonly chat: boolean
  readonly question?: string
  readonly maxTokens: number
}

/** Like any user: the official client, the gateway's URL, the API key. Resolves with the text; rejects with the client's error. */
export const completeThroughGateway = async (endpoint: { readonly url: string; readonly model: string }, apiKey: string, wish: Wish): Promise<string> => {
  const { default: OpenAI } = await import("openai")
  const client = new OpenAI({ baseURL: endpoint.url, apiKey, maxRetries: 2, timeout: COMPLETION_MILLIS })
  const { maxTokens: max_tokens, question = HEALTH_QUESTION } = wish
  if (wish.chat) {
    const answer = await client.chat.completions.create({ model: endpoint.model, messages: [{ role: "user", content: question }], max_tokens, temperature: 0 })
    return answer.choices[0]?.message.content ?? ""
  }
  return (await client.completions.create({ model: endpoint.model, prompt: question, max_tokens, temperature: 0 })).choices[0]?.text ?? ""
}
