/** `hyper endpoints`: what is left running, its key on request, and stopping it. */
import type { EndpointView } from "@hypernode/api/contract/views"
import { apiFor } from "../client/Daemon.ts"
import { CliError, ExitCode } from "../ExitCode.ts"
import { duration } from "../render/words.ts"

interface Common {
  readonly json?: boolean
  readonly api?: string
}

const find = (endpoints: ReadonlyArray<EndpointView>, name: string): EndpointView => {
  const found = endpoints.filter((e) => e.id === name || e.model === name || (name.length >= 4 && e.id.startsWith(name)))
  const [only] = found
  if (only !== undefined && found.length === 1) return only
  throw new CliError(ExitCode.notFound, found.length === 0 ? `there is no endpoint ${name}` : `${name} names ${found.length} endpoints`, { code: "endpoint_not_found", remedy: "hyper endpoints lists them" })
}

const list = async (options: Common) => {
  const api = await apiFor(options.api)
  const { endpoints } = await api.get<{ readonly endpoints: ReadonlyArray<EndpointView> }>("/api/v1/endpoints")
  return { api, endpoints }
}

export const endpoints = async (options: Common): Promise<ExitCode> => {
  const { endpoints: all } = await list(options)
  if (options.json === true) process.stdout.write(`${JSON.stringify(all)}\n`)
  else if (all.length === 0) process.stdout.write("No endpoints are running.\n")
  else
    for (const e of all) {
      const last = e.lastCompletionAt === null ? "no completion yet" : `last completion ${duration(Date.now() - e.lastCompletionAt)} ago`
      process.stdout.write(`${e.id}  ${e.state.padEnd(9)} ${e.model}  ${e.url}  key ${e.keyHint}…  run ${e.runId}  ${last}\n`)
    }
  return ExitCode.ok
}

export const stopEndpoint = async (name: string, options: Common): Promise<ExitCode> => {
  const { api, endpoints: all } = await list(options)
  const endpoint = find(all, name)
  await api.post(`/api/v1/endpoints/${endpoint.id}/stop`)
  process.stdout.write(options.json === true ? `${JSON.stringify({ id: endpoint.id, state: "stopped" })}\n` : `stopped ${endpoint.model} (${endpoint.id})\n`)
  return ExitCode.ok
}

export const endpointKey = async (name: string, options: Common): Promise<ExitCode> => {
  const { api, endpoints: all } = await list(options)
  const endpoint = find(all, name)
  const { key } = await api.post<{ readonly key: string }>(`/api/v1/endpoints/${endpoint.id}/key`)
  process.stdout.write(options.json === true ? `${JSON.stringify({ id: endpoint.id, key })}\n` : `${key}\n`)
  return ExitCode.ok
}
