/**
 * The process that an endpoint of Ollama's stands on: Ollama itself is not ours to start or end, so this one keeps the model in its
 * memory for as long as the endpoint lives, and takes it out when the endpoint is stopped. An Ollama that is away is waited for.
 *
 *     node keeper.ts <host> <model>
 */
import { call } from "../serving/Client.ts"

const [host = "", model = ""] = process.argv.slice(2)
/** longer than the pause between two calls, so that a busy server does not drop the model in between */
const KEEP = "10m"
const PAUSE_MILLIS = 240_000
const AGAIN_MILLIS = 5_000
const LOAD_MILLIS = 900_000

const ask = async (keepAlive: string | number, millis: number): Promise<string | undefined> => {
  try {
    const { status, text } = await call(host, "POST", "/api/generate", { model, keep_alive: keepAlive, stream: false }, millis)
    return status === 200 ? undefined : `HTTP ${status}: ${text.slice(0, 300)}`
  } catch (error) {
    return (error as Error).message
  }
}

const say = (text: string): void => void process.stdout.write(`${new Date().toISOString()} ${text}\n`)

const end = (): void => {
  void ask(0, 10_000).then((fault) => {
    say(fault === undefined ? `${model} is unloaded` : `${model} could not be unloaded: ${fault}`)
    process.exit(0)
  })
}
process.once("SIGTERM", end)
process.once("SIGINT", end)

let last: string | undefined = "not yet"
for (;;) {
  const fault = await ask(KEEP, LOAD_MILLIS)
  if (fault !== last) say(fault === undefined ? `${model} is loaded` : `${model} is not loaded: ${fault}`)
  last = fault
  await new Promise((resolve) => setTimeout(resolve, fault === undefined ? PAUSE_MILLIS : AGAIN_MILLIS))
}
