/** What this plugin says to others: real completions, through the gateway with the official client, and straight to a model server. */
import { request } from "node:http"

export interface ServerHealth {
  readonly device: string
  /** false: the model has no chat template */
  readonly chat: boolean
  readonly context: number | null
}

const call = (upstream: string, method: "GET" | "POST", path: string, body: unknown, millis: number): Promise<{ readonly status: number; readonly text: string }> =>
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

/** Undefined while nothing answers. */
export const serverHealth = async (upstream: string): Promise<ServerHealth | undefined> => {
  try {
    const { status, text } = await call(upstream, "GET", "/health", undefined, 5000)
    return status === 200 ? (JSON.parse(text) as ServerHealth) : undefined
  } catch {
    return undefined
  }
}

const HEALTH_QUESTION = "Hello"

/** One token from the server itself, before anybody is sent to it. Rejects with what it answered instead. */
export const completeDirectly = async (upstream: string, model: string, chat: boolean): Promise<void> => {
  const said = chat ? { messages: [{ role: "user", content: HEALTH_QUESTION }] } : { prompt: HEALTH_QUESTION }
  const { status, text } = await call(upstream, "POST", chat ? "/v1/chat/completions" : "/v1/completions", { model, max_tokens: 1, ...said }, 300_000)
  if (status !== 200) throw new Error(`HTTP ${status}: ${text.slice(0, 500)}`)
}

/** Like any user: the official client, the gateway's URL, the API key. Resolves with the text; rejects with the client's error. */
export const completeThroughGateway = async (
  endpoint: { readonly url: string; readonly model: string },
  apiKey: string,
  wish: { readonly chat: boolean; readonly question?: string; readonly maxTokens: number }
): Promise<string> => {
  const { default: OpenAI } = await import("openai")
  const client = new OpenAI({ baseURL: endpoint.url, apiKey, maxRetries: 2, timeout: 300_000 })
  const question = wish.question ?? HEALTH_QUESTION
  if (wish.chat) {
    const answer = await client.chat.completions.create({ model: endpoint.model, messages: [{ role: "user", content: question }], max_completion_tokens: wish.maxTokens, temperature: 0 })
    return answer.choices[0]?.message.content ?? ""
  }
  return (await client.completions.create({ model: endpoint.model, prompt: question, max_tokens: wish.maxTokens, temperature: 0 })).choices[0]?.text ?? ""
}
