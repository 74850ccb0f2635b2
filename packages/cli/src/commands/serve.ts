/** `hyper serve`: the daemon listens on TCP for as long as this command holds the line; runs go on when it ends. */
import { request } from "node:http"
import { daemon } from "../client/Daemon.ts"
import type { Api } from "../client/Api.ts"
import { CliError, ExitCode } from "../ExitCode.ts"

interface ServeOptions {
  readonly port?: string
  readonly login?: boolean
  readonly key?: string
  readonly json?: boolean
}

const hold = (api: Api, port: number, json: boolean | undefined): Promise<ExitCode> =>
  new Promise((resolve, reject) => {
    const call = request(
      { socketPath: api.target.socketPath, path: "/api/v1/daemon/serve", method: "POST", headers: { host: "localhost", "content-type": "application/json" } },
      (response) => {
        response.setEncoding("utf8")
        let buffer = ""
        response.on("error", () => undefined)
        response.on("data", (text: string) => {
          buffer += text
          const end = buffer.indexOf("\n")
          if (end < 0) return
          const line = buffer.slice(0, end).trim()
          buffer = buffer.slice(end + 1)
          if (line === "") return
          const { login, url } = JSON.parse(line) as { url: string; login: string }
          process.stdout.write(
            json === true
              ? `${JSON.stringify({ type: "serving", url, login })}\n`
              : `Serving ${url}\nLog in once, within 10 minutes:\n  ${login}\nAnother link: hyper serve --login. Ctrl-C stops serving; runs and endpoints go on.\n`
          )
        })
        if (response.statusCode !== 200) {
          response.removeAllListeners("data").on("data", (text: string) => { buffer += text })
          response.on("end", () => {
            const { error } = JSON.parse(buffer) as { error: { code: string; message: string; remedy?: string } }
            reject(new CliError(ExitCode.refused, error.message, { code: error.code, remedy: error.remedy }))
          })
          return
        }
        response.on("close", () => resolve(ExitCode.ok))
      }
    )
    call.on("error", (error) => (leaving ? resolve(ExitCode.ok) : reject(new CliError(ExitCode.unreachable, `the daemon went away: ${error.message}`, { remedy: "start it again: hyper serve" }))))
    let leaving = false
    const leave = () => {
      leaving = true
      call.destroy()
      resolve(ExitCode.ok)
    }
    const patience = setTimeout(() => process.stderr.write("Building the page: once after its source has changed.\n"), 1_500)
    call.on("response", () => clearTimeout(patience)).on("error", () => clearTimeout(patience))
    process.once("SIGINT", leave).once("SIGTERM", leave)
    call.end(JSON.stringify({ port }))
  })

export const serve = async (options: ServeOptions): Promise<ExitCode> => {
  const port = Number(options.port ?? "8480")
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new CliError(ExitCode.usage, `--port ${options.port} is not a port`, { remedy: "a whole number from 0 (any free one) to 65535" })
  const api = (await daemon()) as Api
  if (options.login === true) {
    const { url } = await api.post<{ readonly url: string }>("/api/v1/daemon/login")
    process.stdout.write(options.json === true ? `${JSON.stringify({ url })}\n` : `${url}\n`)
    return ExitCode.ok
  }
  if (options.key !== undefined) {
    const made = await api.post<{ readonly key: string }>("/api/v1/daemon/keys", { name: options.key })
    process.stdout.write(options.json === true ? `${JSON.stringify(made)}\n` : `${made.key}\nShown once. Send it as: Authorization: Bearer …\n`)
    return ExitCode.ok
  }
  return hold(api, port, options.json)
}
