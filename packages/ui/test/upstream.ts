/** An OpenAI-compatible endpoint that answers a fixed sentence, piece by piece: stands in for the gateway in the page's own tests. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

export const startUpstream = async (answer: string) => {
  const asked: Array<{ authorization: string | undefined; body: any }> = []
  const server = createServer((request, response) => {
    let text = ""
    request.on("data", (data) => (text += data))
    request.on("end", async () => {
      asked.push({ authorization: request.headers.authorization, body: JSON.parse(text) })
      response.writeHead(200, { "content-type": "text/event-stream" })
      const pieces = answer.match(/\S+\s*/g) ?? []
      for (const piece of pieces) {
        response.write(`data: ${JSON.stringify({ choices: [{ delta: { content: piece } }] })}\n\n`)
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      response.write(`data: ${JSON.stringify({ choices: [], usage: { completion_tokens: pieces.length } })}\n\n`)
      response.end("data: [DONE]\n\n")
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    asked,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    }
  }
}
