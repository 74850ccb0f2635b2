/** What a policy refuses in a plan. Nothing here reads what an option names or runs what a step names. */
import { existsSync, realpathSync } from "node:fs"
import { isAbsolute, relative, resolve, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { printable } from "../git/printable.ts"
import type { RawPlan } from "../pipeline/RawPlan.ts"
import type { Estimate } from "../plugin/Plugin.ts"
import { locate } from "../plugin/locate.ts"
import type { Plan } from "../plan/Plan.ts"
import type { Policy } from "./Policy.ts"

export interface Refusal {
  readonly message: string
  readonly remedy: string
}

const below = (path: string, directory: string): boolean => {
  const way = relative(directory, path)
  return way === "" || (way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way))
}

const real = (path: string): string => {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

const permits = (policy: Policy, specifier: string): boolean => !specifier.split("/").includes("..") && policy.plugins.some((allowed) => specifier === allowed || specifier.startsWith(`${allowed}/`))

/**
 * By where each plugin's code lies, not by what it is called: a repository can name a package of its own `@hypernode/plugins`. `tree`: the
 * exported repository. Looks modules up; loads none. `raw` comes from a process that ran the pusher's code, so nothing about it is certain.
 */
export const pluginRefusals = async (raw: RawPlan, projectDirectory: string, tree: string, policy: Policy): Promise<ReadonlyArray<Refusal>> => {
  // the planner refuses what is no plan
  if (!Array.isArray(raw?.steps)) return []
  const refusals: Array<Refusal> = []
  const inside = real(tree)
  for (const specifier of new Set(raw.steps.map((step) => String(step?.plugin?.specifier)))) {
    const shown = printable(specifier.replace(inside, "."), 120)
    const found = await locate(specifier, projectDirectory).catch(() => undefined)
    // a plugin that is nowhere is the planner's to tell
    if (found === undefined) continue
    if (below(real(found.entry), inside)) {
      if (!policy.plugins.includes("./")) refusals.push({ message: `the plugin ${shown} is code of the repository, which would run with all rights of the daemon`, remedy: 'if everybody who may push may also run code here, add "./" to "plugins" in the policy file' })
    } else if (found.origin === "file") refusals.push({ message: `the plugin ${shown} is a file of this machine outside the repository`, remedy: "put it into the repository, or make it a package and permit that" })
    else if (!permits(policy, found.specifier)) refusals.push({ message: `the policy permits no plugin ${shown}`, remedy: `add "${shown}" to "plugins" in the policy file; permitted: ${policy.plugins.join(", ") || "none"}` })
  }
  return refusals
}

const strings = (value: unknown, at: string): ReadonlyArray<readonly [at: string, text: string]> =>
  typeof value === "string" ? [[at, value]] : typeof value === "object" && value !== null ? Object.entries(value).flatMap(([key, inner]) => strings(inner, `${at}.${key}`)) : []

/** Where `text` leads if it is a path that leaves the repository; undefined if it is none or stays inside. */
const leaving = (text: string, projectDirectory: string, tree: string): string | undefined => {
  if (text.startsWith("~/") || text === "~") return text
  let path = text
  if (/^file:/i.test(text)) {
    try {
      path = fileURLToPath(text)
    } catch {
      return text
    }
  }
  if (!isAbsolute(path) && !path.split("/").includes("..")) return undefined
  const to = resolve(projectDirectory, path)
  return below(existsSync(to) ? real(to) : to, real(tree)) ? undefined : to
}

/** True for options that may come to no sandbox at all. `canConfine`: this machine has one. */
const loose = (options: unknown, canConfine: boolean): boolean => {
  const { sandbox } = (typeof options === "object" && options !== null ? options : {}) as { readonly sandbox?: unknown }
  return sandbox === "none" || (sandbox === "auto" && !canConfine)
}

/** `projectDirectory`: where relative paths in options start, inside `tree`. */
export const planRefusals = (plan: Plan, projectDirectory: string, tree: string, policy: Policy, canConfine: boolean): ReadonlyArray<Refusal> => [
  ...plan.steps
    .filter(({ options }) => !policy.unconfined && loose(options, canConfine))
    .map(({ id }) => ({ message: `${id} would run without a sandbox`, remedy: 'let it say sandbox: "required", or add "unconfined": true to the policy file' })),
  ...plan.secrets
    .filter((name) => !policy.secrets.includes(name))
    .map((name) => ({ message: `the pipeline asks for the secret ${printable(name, 80)}`, remedy: `add "${printable(name, 80)}" to "secrets" in the policy file` })),
  ...plan.steps.flatMap((step) =>
    strings(step.options, `${step.id}.options`).flatMap(([at, text]) => {
      const to = leaving(text, projectDirectory, tree)
      if (to === undefined || policy.data.some((directory) => isAbsolute(directory) && below(real(to), real(directory)))) return []
      return [{ message: `${printable(at, 80)} names ${printable(text, 120)}, outside the repository`, remedy: 'keep the file in the repository, or add its directory to "data" in the policy file' }]
    })
  )
]

/** From what the plugins say a step will touch, and what this machine lacks for it. */
export const estimateRefusals = (estimates: ReadonlyArray<{ readonly step: string; readonly estimate: Estimate }>, policy: Policy): ReadonlyArray<Refusal> =>
  estimates.flatMap(({ estimate, step }) => [
    ...estimate.hosts.filter((host) => !policy.hosts.includes(host)).map((host) => ({ message: `${step} would fetch from ${printable(host, 80)}`, remedy: `add "${printable(host, 80)}" to "hosts" in the policy file` })),
    ...estimate.notes.filter((note) => note.level === "refuse").map((note) => ({ message: `${step}: ${note.message}`, remedy: note.remedy ?? "hyper doctor says what is missing here" }))
  ])

/** Whether pipelines of that file may run at all; what is missing, if not. */
export const mayRun = (file: string, policy: Policy): string | undefined => {
  if (!policy.run) return 'planned only: the policy does not say "run": true'
  const paths = policy.paths?.map((path) => path.replace(/^\.\//, "").replace(/\/+$/, ""))
  return paths === undefined || paths.some((path) => file === path || file.startsWith(`${path}/`) || path === "." || path === "") ? undefined : `planned only: "paths" of the policy does not name ${printable(file)}`
}
