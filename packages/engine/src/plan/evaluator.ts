/**
 * The evaluation process: imports one pipeline file, runs its body, writes the RawPlan as JSON to descriptor 3. Started by
 * `evaluate.ts` through `evaluatorBoot.mjs`, with Node's permission model, an empty environment and limits; what the permission model leaves open is closed here.
 * Imports nothing of effect.
 */
import * as fs from "node:fs"
import { registerHooks } from "node:module"
import { fileURLToPath, pathToFileURL } from "node:url"
import { isPipeline } from "../pipeline/Pipeline.ts"
import { PipelineError } from "../pipeline/PipelineError.ts"
import type { Position, RawIssue } from "../pipeline/RawPlan.ts"
import type { EvaluationMessage, EvaluationReply, EvaluationRequest } from "./evaluation.ts"

const request = JSON.parse(process.argv[2] ?? "{}") as EvaluationRequest
const { closeSync, writeSync } = fs
/** `process.exit` without its hooks, taken before the pipeline file can reach it. */
const leave = (process as unknown as { readonly reallyExit: (code: number) => never }).reallyExit.bind(process)

/** left by evaluatorBoot.mjs, which goes on adding to it */
const missed = (globalThis as unknown as Record<symbol, ReadonlyArray<string> | undefined>)[Symbol.for("hypernode.missed")] ?? []

let sent = false
const send = (reply: EvaluationReply): void => {
  if (sent) return
  sent = true
  const message: EvaluationMessage = { ...reply, missed }
  const bytes = Buffer.from(JSON.stringify(message))
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(3, bytes, at)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error
    }
  }
  closeSync(3)
}

const pathOf = (url: string): string => {
  try {
    return fileURLToPath(url)
  } catch {
    return url
  }
}

/** The first frame in a file that is the user's own. */
const positionOf = (stack: string): Position | undefined => {
  for (const match of stack.matchAll(/(file:\/\/[^\s():]+|\/[^\s():]+):(\d+)(?::(\d+))?/g)) {
    const file = pathOf(match[1]!)
    if (file.startsWith(request.root) && !file.includes("/node_modules/")) return { file, line: Number(match[2]), column: Number(match[3] ?? 1) }
  }
  return undefined
}

const DENIED: Readonly<Record<string, readonly [what: string, hint: string]>> = {
  FileSystemRead: ["read a file outside its project", "name files in the options of a plugin (they are read when the run starts), or move what the pipeline imports below the project"],
  FileSystemWrite: ["write a file", "a pipeline only describes: let a stage write"],
  Net: ["use the network", "a pipeline only describes: let a stage, such as select(hfHub(...)), fetch what it needs"],
  ChildProcess: ["start a process", "a pipeline only describes: let a stage start it"],
  WorkerThreads: ["start a thread", "a pipeline only describes"],
  Addons: ["load a native add-on", "import native packages inside stage bodies, not at the top of a plugin's index"]
}

interface Thrown {
  readonly code?: unknown
  readonly permission?: unknown
  readonly resource?: unknown
  readonly cause?: unknown
}

const issueOf = (error: unknown): EvaluationReply => {
  const failed = (reason: Extract<EvaluationReply, { ok: false }>["reason"], issue: RawIssue): EvaluationReply => ({ ok: false, reason, issues: [issue] })
  if (!(error instanceof Error)) return failed("Failed", { path: "", message: `the file threw ${typeof error === "object" ? JSON.stringify(error) : String(error)}`, hint: "throw an Error" })
  const at = positionOf(error.stack ?? "")
  const place = at === undefined ? {} : { at }
  if (error instanceof PipelineError || error.name === "PipelineError") {
    const { path, hint } = error as PipelineError
    return failed(path.startsWith("process.") ? "Forbidden" : "Invalid", { path, message: error.message, ...(hint === undefined ? {} : { hint }), ...place })
  }
  for (let inner: Thrown | undefined = error as Thrown; inner !== undefined; inner = inner.cause as Thrown | undefined) {
    const text = inner instanceof Error ? inner.message : ""
    if (inner.code !== "ERR_ACCESS_DENIED" && !text.includes("ERR_ACCESS_DENIED")) continue
    const permission = typeof inner.permission === "string" ? inner.permission : text.includes("allow-net") || text.includes("getaddrinfo") ? "Net" : ""
    const [what, hint] = DENIED[permission] ?? ["do that", "a pipeline only describes"]
    const resource = typeof inner.resource === "string" && inner.resource !== "" ? ` (${pathOf(inner.resource)})` : ""
    return failed("Forbidden", { path: "", message: `a pipeline file cannot ${what}${resource}`, hint, ...place })
  }
  const code = (error as Thrown).code
  if (error instanceof SyntaxError || code === "ERR_INVALID_TYPESCRIPT_SYNTAX" || code === "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX") {
    return failed("Syntax", { path: "", message: error.message, hint: code === "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX" ? "use only types that can be erased: no enum, no namespace, no parameter properties" : "correct the syntax", ...place })
  }
  if (code === "ERR_UNKNOWN_BUILTIN_MODULE") return failed("Forbidden", { path: "", message: `a pipeline file cannot use ${/node:\S+/.exec(error.message)?.[0] ?? "that module"}`, hint: "a pipeline only describes", ...place })
  if (code === "ERR_MODULE_NOT_FOUND" || code === "ERR_PACKAGE_PATH_NOT_EXPORTED") return failed("Unresolved", { path: "", message: error.message, ...place })
  if (error instanceof RangeError && /allocation|Invalid array length|string length/.test(error.message)) {
    return failed("Memory", { path: "", message: `the file needs more memory than a pipeline file may use: ${error.message}`, hint: "a pipeline only describes: let a stage load data", ...place })
  }
  return failed("Failed", { path: "", message: `${error.name}: ${error.message}`, ...place })
}

/** Names that Node's own modules read, at any time, in this process. */
const NODES_OWN = new Set(["NODE_ENV", "NODE_DEBUG", "NODE_V8_COVERAGE", "NODE_NO_WARNINGS", "NODE_PENDING_DEPRECATION", "NODE_DISABLE_COLORS", "NO_COLOR", "FORCE_COLOR", "WATCH_REPORT_DEPENDENCIES", "TERM"])

const closeWhatIsLeft = (): void => {
  const refuse = (what: string, hint: string) => (): never => {
    throw new PipelineError(`process.${what}`, `a pipeline file cannot call process.${what}`, hint)
  }
  const noEnvironment = (key: string | symbol): undefined => {
    if (typeof key === "symbol" || NODES_OWN.has(key)) return undefined
    throw new PipelineError(`process.env.${key}`, `a pipeline file cannot read the environment (process.env.${key})`, `use p.param("${key.toLowerCase()}", default) for a value, secret("${key}") for a credential`)
  }
  const noList = (): never => {
    // node:child_process copies the environment before it asks for permission; what it is told then is the better answer.
    if (new Error().stack?.includes("node:child_process") === true) return [] as never
    throw new PipelineError("process.env", "a pipeline file cannot read the environment (process.env)", "use p.param(name, default) for a value, secret(name) for a credential")
  }
  const environment = new Proxy({}, {
    get: (_, key) => noEnvironment(key),
    has: (_, key) => noEnvironment(key) !== undefined,
    getOwnPropertyDescriptor: (_, key) => noEnvironment(key),
    ownKeys: () => noList(),
    set: () => noList()
  })
  Object.defineProperty(process, "env", { value: environment, writable: false, configurable: false })
  // The permission model does not cover signals to other processes, identity, or leaving early.
  const loose = process as unknown as Record<string, unknown>
  for (const name of ["exit", "reallyExit", "abort"]) loose[name] = refuse(name, "throw an Error to refuse, or return to end")
  for (const name of ["kill", "_kill", "_debugProcess", "setuid", "setgid", "seteuid", "setegid", "setgroups", "initgroups", "umask", "execve", "dlopen"]) {
    if (name in process) loose[name] = refuse(name, "a pipeline only describes")
  }
}

// A pipeline file in a directory without node_modules still finds the engine and the plugins that evaluate it. And its TypeScript is a
// module even where package.json says "commonjs", which is what npm init writes.
registerHooks({
  resolve: (specifier, context, next) => {
    if (!specifier.startsWith("@hypernode/")) {
      const found = next(specifier, context)
      return /^file:.*\.ts$/.test(found.url) && !found.url.includes("/node_modules/") ? { ...found, format: "module-typescript" } : found
    }
    try {
      return next(specifier, context)
    } catch (error) {
      if ((error as Thrown).code !== "ERR_MODULE_NOT_FOUND" || !(error as Error).message.startsWith("Cannot find package")) throw error
      return next(specifier, { ...context, parentURL: import.meta.url })
    }
  }
})

process.on("exit", () => {
  // Reached without a reply only when the file's top-level await never settles.
  send({ ok: false, reason: "Failed", issues: [{ path: "", message: "the file never finished loading: a top-level await that does not settle", hint: "remove it; a pipeline only describes" }] })
})
process.on("uncaughtException", (error) => {
  send(issueOf(error))
  leave(0)
})

closeWhatIsLeft()
try {
  const module = await import(pathToFileURL(request.file).href) as { readonly default?: unknown }
  if (!isPipeline(module.default)) {
    send({
      ok: false,
      reason: "Invalid",
      issues: [{
        path: "default",
        message: module.default === undefined ? "the file has no default export" : "the default export is not a pipeline",
        hint: 'write: export default pipeline("name", (p) => { ... })'
      }]
    })
  } else {
    send({ ok: true, raw: module.default.build(request.params) })
  }
} catch (error) {
  const reply = issueOf(error)
  if (!reply.ok && reply.reason === "Syntax" && reply.issues[0]?.at === undefined) {
    // V8 keeps the place of a syntax error in JavaScript to itself until the error is uncaught: `evaluate.ts` reads what Node prints.
    sent = true
    process.removeAllListeners("uncaughtException")
    throw error
  }
  send(reply)
}
leave(0)
