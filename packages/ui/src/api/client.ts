/** Requests to our own server. An answer that is an error becomes a Problem, which pages show in place. */
import type { Catalogue, Cost, DeployForm, EndpointView, Me, PlanView, Rewards, Run, RunSummary } from "@hypernode/api/types"

export class Problem extends Error {
  readonly status: number
  readonly code: string
  readonly remedy: string | undefined
  readonly requestId: string | undefined
  constructor(status: number, body: { code?: string; message?: string; remedy?: string; requestId?: string }) {
    super(body.message ?? `The server answered ${status}`)
    this.status = status
    this.code = body.code ?? "unknown"
    this.remedy = body.remedy
    this.requestId = body.requestId
  }
}

export const problemOf = (cause: unknown): Problem =>
  cause instanceof Problem ? cause : new Problem(0, { code: "offline", message: "The server does not answer", remedy: "Is it running? Start it with: hyper serve" })

export const problemFrom = async (response: Response): Promise<Problem> => {
  const body = (await response.json().catch(() => ({}))) as { error?: { code?: string; message?: string; remedy?: string; requestId?: string } }
  return new Problem(response.status, body.error ?? {})
}

const request = async <A>(method: string, path: string, body?: unknown): Promise<A> => {
  const response = await fetch(path, {
    method,
    credentials: "same-origin",
    ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
  })
  if (!response.ok) throw await problemFrom(response)
  return (await response.json()) as A
}

const run = (id: string): string => `/api/v1/runs/${encodeURIComponent(id)}`
const endpoint = (id: string): string => `/api/v1/endpoints/${encodeURIComponent(id)}`

export const api = {
  me: () => request<Me>("GET", "/api/v1/me"),
  login: (token: string) => request<{ expiresAt: number }>("POST", "/api/v1/login", { token }),
  logout: () => request<unknown>("POST", "/api/v1/logout"),
  runs: (limit = 50) => request<{ runs: Array<RunSummary> }>("GET", `/api/v1/runs?limit=${limit}`),
  run: (id: string) => request<Run>("GET", run(id)),
  cost: (id: string) => request<Cost>("GET", `${run(id)}/cost`),
  rewards: (id: string) => request<Rewards>("GET", `${run(id)}/rewards`),
  cancel: (id: string) => request<unknown>("POST", `${run(id)}/cancel`),
  resume: (id: string) => request<unknown>("POST", `${run(id)}/resume`),
  streamUrl: (id: string) => `${run(id)}/stream`,
  models: () => request<Catalogue>("GET", "/api/v1/models"),
  plan: (form: DeployForm) => request<PlanView>("POST", "/api/v1/plan", { form }),
  deploy: (form: DeployForm) => request<{ job_id: string }>("POST", "/api/deploy_model", form),
  endpoints: () => request<{ endpoints: Array<EndpointView> }>("GET", "/api/v1/endpoints"),
  stopEndpoint: (id: string) => request<unknown>("POST", `${endpoint(id)}/stop`),
  endpointKey: (id: string) => request<{ key: string }>("POST", `${endpoint(id)}/key`),
  chatUrl: (id: string) => `${endpoint(id)}/chat`
}
