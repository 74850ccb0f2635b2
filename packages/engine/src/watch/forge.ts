/**
 * Commit statuses as forges take them: GitHub's REST API (docs.github.com/rest/commits/statuses), Gitea's, which has its shape, and
 * GitLab's (docs.gitlab.com/api/commits). Redirects are not followed: the token goes to the host that was named.
 */
import * as Redacted from "effect/Redacted"
import { printable } from "../git/printable.ts"
import type { ForgeTarget } from "./WatchSpec.ts"

export interface CommitStatus {
  readonly state: "pending" | "success" | "failure" | "error"
  /** what it is about: `hyper/pipelines/bot.ts` */
  readonly context: string
  readonly description: string
}

/** `retry`: whether it may arrive later. `afterMillis`: what the forge asked for. */
export class ForgeError extends Error {
  readonly retry: boolean
  readonly remedy: string
  readonly afterMillis: number | undefined
  constructor(message: string, options: { readonly retry: boolean; readonly remedy: string; readonly afterMillis?: number | undefined }) {
    super(message)
    this.retry = options.retry
    this.remedy = options.remedy
    this.afterMillis = options.afterMillis
  }
}

const TIMEOUT_MILLIS = 20_000
const DESCRIPTION = 140

/** `github=https://github.com/owner/repo`, without the secret. Throws an Error that says what is wrong. */
export const parseForge = (text: string): Pick<ForgeTarget, "forge" | "url"> => {
  const [, forge, address] = /^(github|gitlab|gitea)=(.+)$/.exec(text) ?? []
  if (forge === undefined || address === undefined || !URL.canParse(address)) throw new Error(`${printable(text, 80)} is not a forge: write github=https://github.com/owner/repo, gitlab=... or gitea=...`)
  const url = new URL(address)
  if (url.username !== "" || url.password !== "") throw new Error("the forge's address has a credential in it: put the token into an environment variable and name that with --token-secret")
  if (url.protocol !== "https:" && !(url.protocol === "http:" && /^(localhost|\[::1\]|127\.\d+\.\d+\.\d+)$/.test(url.hostname))) throw new Error("a forge is called by https (http on this machine only)")
  const path = url.pathname.replace(/\.git$/, "").replace(/\/+$/, "")
  if (path.split("/").filter((part) => part !== "").length < 2) throw new Error(`${printable(text, 80)} names no repository: write https://host/owner/repo`)
  return { forge: forge as ForgeTarget["forge"], url: `${url.origin}${path}` }
}

const endpoints = ({ forge, url }: ForgeTarget, commit: string): { readonly post: string; readonly list: string } => {
  const { host, origin, pathname } = new URL(url)
  const project = pathname.slice(1)
  if (forge === "gitlab") {
    const base = `${origin}/api/v4/projects/${encodeURIComponent(project)}`
    return { post: `${base}/statuses/${commit}`, list: `${base}/repository/commits/${commit}/statuses?per_page=100` }
  }
  const base = `${forge === "gitea" ? `${origin}/api/v1` : host === "github.com" ? "https://api.github.com" : `${origin}/api/v3`}/repos/${project}`
  return { post: `${base}/statuses/${commit}`, list: `${base}/commits/${commit}/statuses?per_page=100` }
}

const gitlabState = { pending: "running", success: "success", failure: "failed", error: "failed" } as const

const call = async (target: ForgeTarget, token: Redacted.Redacted<string>, url: string, body?: unknown): Promise<unknown> => {
  const { host } = new URL(url)
  let response: Response
  try {
    response = await fetch(url, {
      method: body === undefined ? "GET" : "POST",
      redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT_MILLIS),
      headers: {
        accept: target.forge === "github" ? "application/vnd.github+json" : "application/json",
        "user-agent": "hypernode",
        ...(target.forge === "gitlab" ? { "private-token": Redacted.value(token) } : { authorization: `${target.forge === "gitea" ? "token" : "Bearer"} ${Redacted.value(token)}` }),
        ...(target.forge === "github" ? { "x-github-api-version": "2022-11-28" } : {}),
        ...(body === undefined ? {} : { "content-type": "application/json" })
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
  } catch (cause) {
    const why = cause instanceof Error ? ((cause.cause as { code?: string } | undefined)?.code ?? cause.name) : "unknown failure"
    throw new ForgeError(`${host} cannot be reached (${why})`, { retry: true, remedy: "it is tried again by itself" })
  }
  if (response.ok) return response.json().catch(() => undefined)
  const text = await response.text().catch(() => "")
  const said = printable(/"message"\s*:\s*"([^"]{1,200})"/.exec(text)?.[1] ?? "", 200).replaceAll(Redacted.value(token), "***")
  const after = Number(response.headers.get("retry-after"))
  const limited = response.status === 429 || (response.status === 403 && (response.headers.get("x-ratelimit-remaining") === "0" || after > 0))
  throw new ForgeError(`${host} answered ${response.status}${said === "" ? "" : `: ${said}`}`, {
    retry: response.status >= 500 || limited,
    remedy: response.status >= 500 || limited
      ? "it is tried again by itself"
      : response.status === 401 || response.status === 403 || response.status === 404
        ? "give a token that may write commit statuses of that repository: --token-secret NAME"
        : response.status >= 300 && response.status < 400
          ? "the repository has moved: give its present address with --status"
          : "check the address given with --status",
    ...(after > 0 ? { afterMillis: after * 1000 } : {})
  })
}

/** `mayHaveArrived`: an earlier attempt may have; then the forge is asked before it is told again. Rejects with ForgeError only. */
export const sendStatus = async (target: ForgeTarget, token: Redacted.Redacted<string>, commit: string, status: CommitStatus, mayHaveArrived: boolean): Promise<void> => {
  const { list, post } = endpoints(target, commit)
  const description = printable(status.description, DESCRIPTION - 1)
  const state = target.forge === "gitlab" ? gitlabState[status.state] : status.state
  if (mayHaveArrived) {
    const there = await call(target, token, list)
    const same = Array.isArray(there) && there.some((one: { context?: string; name?: string; state?: string; status?: string; description?: string }) =>
      (one.context ?? one.name) === status.context && (one.state ?? one.status) === state && one.description === description)
    if (same) return
  }
  await call(target, token, post, target.forge === "gitlab" ? { state, name: status.context, description } : { state, context: status.context, description })
}
