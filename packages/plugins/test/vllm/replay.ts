/**
 * A stand-in for `vllm serve` where there is no real one: takes the same flags (and no others), binds as vLLM does, and gives the replies
 * that a real vLLM 0.32 gave (recorded/*.json), under the name that is asked. VLLM_REPLAY_FAILS=<name> ends it with that recorded log.
 *
 *     node replay.ts serve <model> [flags]
 */
import { existsSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import { join } from "node:path"
import { parseArgs } from "node:util"

const recorded = (name: string): string => readFileSync(join(import.meta.dirname, "recorded", name), "utf8")
const fail = (text: string, code: number): never => {
  process.stderr.write(text)
  process.exit(code)
}

const text = { type: "string" } as const
const flag = { type: "boolean" } as const
const parsed = (() => {
  try {
    return parseArgs({
      args: process.argv.slice(2),
      allowPositionals: true,
      options: {
        tokenizer: text, "served-model-name": text, "enable-lora": flag, "max-lora-rank": text, "lora-modules": text, uds: text, host: text, port: text, dtype: text,
        "max-model-len": text, "tensor-parallel-size": text, "gpu-memory-utilization": text, "max-num-seqs": text, "enforce-eager": flag, "no-enable-log-requests": flag
      }
    })
  } catch (error) {
    return fail(`vllm: error: unrecognized arguments: ${(error as Error).message}\n`, 2)
  }
})()
const { positionals: [command, model = ""], values } = parsed
if (command !== "serve" || !existsSync(join(model, "config.json"))) fail(`OSError: ${model} is no model\n`, 1)
const failing = process.env["VLLM_REPLAY_FAILS"]
if (failing !== undefined) fail(recorded(`${failing}.log`), 1)

const lora = values["lora-modules"] === undefined ? undefined : (JSON.parse(values["lora-modules"]) as { readonly name: string; readonly path: string })
if (lora !== undefined) {
  const { r } = JSON.parse(readFileSync(join(lora.path, "adapter_config.json"), "utf8")) as { readonly r: number }
  if (values["enable-lora"] !== true || r > Number(values["max-lora-rank"])) fail(`ValueError: LoRA rank ${r} is greater than max_lora_rank ${values["max-lora-rank"]}.\n`, 1)
}
const names = [values["served-model-name"] ?? model, ...(lora === undefined ? [] : [lora.name])]

const server = createServer((request, response) => {
  let body = ""
  request.on("data", (part: Buffer) => (body += part))
  request.on("end", () => {
    const send = (status: number, type: string, answer: string): void => void response.writeHead(status, { "content-type": type }).end(answer)
    if (request.url === "/health") return send(200, "text/plain", "")
    const asked = JSON.parse(body) as { readonly model: string; readonly stream?: boolean }
    if (!names.includes(asked.model)) return send(404, "application/json", recorded("unknown.json").replaceAll("no-such", asked.model))
    const named = (file: string): string => recorded(file).replaceAll('"model":"full"', `"model":${JSON.stringify(asked.model)}`)
    if (request.url === "/v1/completions") return send(200, "application/json", named("completion.json"))
    return asked.stream === true ? send(200, "text/event-stream; charset=utf-8", named("stream.txt")) : send(200, "application/json", named("chat.json"))
  })
})
server.once("error", (error: NodeJS.ErrnoException) => fail(recorded("port.log").replaceAll("Errno 98", error.code === "EADDRINUSE" ? "Errno 98" : `${error.errno}`), 1))
if (values.uds === undefined) server.listen(Number(values.port), values.host)
else server.listen(values.uds)
process.once("SIGTERM", () => process.exit(0))
