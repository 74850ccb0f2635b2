/**
 * Evaluates a pipeline file in a process of its own (design.md, section 1): empty environment whose reads throw, Node's permission
 * model (no reads outside the project, no writes, network, processes, threads or add-ons), limits on time and memory; on a shared
 * server bubblewrap around that. Imports nothing of effect, so that a command can start it first and load the rest meanwhile.
 *
 * What it does not do: on a workstation a symbolic link deep inside the project still leads out, and a pipeline may read any other
 * file of its project. Nothing it reads can leave but through the plan, which the user sees.
 */
import { spawn } from "node:child_process"
import { existsSync, realpathSync, statSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { programPath } from "../program.ts"
import type { Evaluation, EvaluationMessage, EvaluationReason, EvaluationRequest } from "./evaluation.ts"
import { projectRoot, readablePaths } from "./readable.ts"
import { addStripped, strippedFile } from "./stripped.ts"

export type Isolation = "workstation" | "server"

export interface EvaluateOptions {
  /** by name; text is read by the type of the parameter's default */
  readonly params?: Readonly<Record<string, unknown>>
  readonly isolation?: Isolation
  /** of processor time, default 10: what ends an endless loop, however busy the machine is */
  readonly cpuSeconds?: number
  /** of wall time, default 60,000: what ends a wait */
  readonly timeoutMillis?: number
  /** of the JavaScript heap, default 256; the process as a whole may have four times as much and 1 GiB more */
  readonly memoryMebibytes?: number
  /** The user's cache (Home.cache): keeps sources with their types stripped, which halves the time of the next evaluation. Default: none kept. */
  readonly cacheDirectory?: string
  readonly signal?: AbortSignal
}

const OUTPUT_LIMIT = 64 * 1024
const REPLY_LIMIT = 16 * 1024 * 1024

const failure = (reason: EvaluationReason, message: string, hint: string, output = ""): Evaluation => ({ ok: false, reason, issues: [{ path: "", message, hint }], output })

const WITHOUT_SERVER = "install bubblewrap (Debian: apt install bubblewrap) and allow unprivileged user namespaces, or evaluate on a workstation"

/** bubblewrap: no network, everything read-only, only what the evaluation needs, its own pids. */
const confined = (command: ReadonlyArray<string>, paths: ReadonlyArray<string>): ReadonlyArray<string> => {
  const system = ["/usr", "/bin", "/lib", "/lib64", "/nix/store"].filter((path) => existsSync(path))
  return [
    "bwrap", "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
    ...system.flatMap((path) => ["--ro-bind", path, path]),
    "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
    ...[process.execPath, ...paths].flatMap((path) => ["--ro-bind", path, path]),
    "--remount-ro", "/", "--chdir", "/",
    ...command
  ]
}

/** Never rejects. The process is gone when the promise settles. */
export const evaluate = async (path: string, options: EvaluateOptions = {}): Promise<Evaluation> => {
  const asked = resolve(path)
  let file: string
  try {
    file = realpathSync(asked)
    if (!statSync(file).isFile()) return failure("Unreadable", `${path} is not a file`, "give the path of a pipeline file, such as pipelines/quickstart.ts")
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    return failure("Unreadable", code === "ENOENT" ? `there is no file ${path}` : `${path} cannot be read (${code})`, "check the path; hyper init writes a first pipeline")
  }
  if (!/\.[cm]?[jt]s$/.test(file)) return failure("Unreadable", `${path} is neither TypeScript nor JavaScript`, "name it pipeline.ts")

  const isolation = options.isolation ?? "workstation"
  const timeout = options.timeoutMillis ?? 60_000
  const cpu = options.cpuSeconds ?? 10
  const heap = options.memoryMebibytes ?? 256
  const root = projectRoot(file)
  const engine = resolve(dirname(fileURLToPath(import.meta.url)), "../..")
  const paths = readablePaths(file, engine)
  const stripped = options.cacheDirectory === undefined ? undefined : strippedFile(options.cacheDirectory, root)
  const request: EvaluationRequest = { file, root, params: options.params ?? {}, evaluator: programPath(import.meta.url, "./evaluator"), ...(stripped === undefined ? {} : { stripped }) }
  const node = [
    process.execPath,
    "--permission",
    ...[...paths, ...(stripped === undefined ? [] : [stripped])].map((allowed) => `--allow-fs-read=${allowed}`),
    "--no-experimental-sqlite",
    "--no-warnings",
    `--max-old-space-size=${heap}`,
    fileURLToPath(new URL("./evaluatorBoot.mjs", import.meta.url)),
    JSON.stringify(request)
  ]
  const command = isolation === "server" ? confined(node, stripped !== undefined && existsSync(stripped) ? [...paths, stripped] : paths) : node
  // The heap limit does not count buffers; RLIMIT_DATA does. Where the shell cannot set one, the others hold.
  const limits = ["/bin/sh", "-c", 'ulimit -c 0 2>/dev/null; ulimit -t "$1" 2>/dev/null; ulimit -d "$2" 2>/dev/null; shift 2; exec "$@"', "sh", String(cpu), String((1024 + 4 * heap) * 1024)]
  const [program, ...argv] = [...limits, ...command] as [string, ...Array<string>]

  const { missed = [], ...evaluation } = await new Promise<Evaluation & Partial<EvaluationMessage>>((done) => {
    const child = spawn(program, argv, { cwd: root, env: isolation === "server" ? { PATH: "/usr/local/bin:/usr/bin:/bin" } : {}, stdio: ["ignore", "pipe", "pipe", "pipe"] })
    let output = ""
    let reply = ""
    let ended: EvaluationReason | undefined
    const kill = (): void => void child.kill("SIGKILL")
    const abort = (): void => {
      ended = "Failed"
      kill()
    }
    const timer = setTimeout(() => {
      ended = "Timeout"
      kill()
    }, timeout)
    process.once("exit", kill)
    options.signal?.addEventListener("abort", abort, { once: true })
    if (options.signal?.aborted === true) abort()
    const collect = (chunk: Buffer): void => {
      if (output.length < OUTPUT_LIMIT) output = (output + chunk.toString("utf8")).slice(0, OUTPUT_LIMIT)
    }
    child.stdout!.on("data", collect)
    child.stderr!.on("data", collect)
    const pipe = child.stdio[3] as NodeJS.ReadableStream
    pipe.setEncoding("utf8")
    pipe.on("data", (chunk: string) => {
      reply += chunk
      if (reply.length > REPLY_LIMIT) {
        ended = "Memory"
        kill()
      }
    })
    const finish = (result: Evaluation): void => {
      clearTimeout(timer)
      process.off("exit", kill)
      options.signal?.removeEventListener("abort", abort)
      done(result)
    }
    child.on("error", (error) => finish(failure("Failed", `the evaluation process did not start: ${error.message}`, "run hyper doctor")))
    child.on("close", (code, signal) => finish(verdict({ reply, output, code, signal, ended, timeout, cpu, heap, isolation })))
  })
  if (stripped !== undefined && Array.isArray(missed) && missed.length > 0) addStripped(stripped, missed, paths)
  return evaluation
}

const verdict = (of: {
  readonly reply: string
  readonly output: string
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly ended: EvaluationReason | undefined
  readonly timeout: number
  readonly cpu: number
  readonly heap: number
  readonly isolation: Isolation
}): Evaluation & Partial<EvaluationMessage> => {
  const { output } = of
  if (of.ended === "Timeout") return failure("Timeout", `the file did not finish within ${of.timeout / 1000} s and was ended: is there an endless loop?`, "a pipeline only describes; remove the loop or the wait", output)
  // SIGXCPU, then SIGKILL; bubblewrap hands a signal on as 128 and its number.
  if (of.ended === undefined && of.reply === "" && (of.signal === "SIGXCPU" || of.signal === "SIGKILL" || of.code === 152 || of.code === 137)) {
    return failure("Timeout", `the file used ${of.cpu} s of processor time and was ended: is there an endless loop?`, "a pipeline only describes; remove the loop", output)
  }
  if (of.ended === "Memory") return failure("Memory", `the plan is larger than ${REPLY_LIMIT / 1024 / 1024} MiB`, "pass files by path, not by content", output)
  if (of.ended === "Failed") return failure("Failed", "the evaluation was cancelled", "run it again", output)
  if (of.reply !== "") {
    try {
      return { ...(JSON.parse(of.reply) as EvaluationMessage), output }
    } catch {
      return failure("Failed", "the file wrote to the descriptor of the plan", "a pipeline only describes; do not write to descriptors", output)
    }
  }
  const syntax = /^(file:\/\/\S+):(\d+)$[^]*?^SyntaxError: (.*)$/m.exec(output)
  if (syntax !== null) {
    return { ok: false, reason: "Syntax", issues: [{ path: "", message: syntax[3]!, hint: "correct the syntax", at: { file: fileURLToPath(syntax[1]!), line: Number(syntax[2]), column: 1 } }], output: "" }
  }
  if (/heap out of memory|Fatal process out of memory|bad_alloc|Allocation failed/.test(output)) {
    return failure("Memory", `the file needs more memory than a pipeline file may use (${of.heap} MiB)`, "a pipeline only describes: let a stage load data")
  }
  if (of.isolation === "server" && /bwrap/.test(output)) return failure("Failed", `bubblewrap could not confine the evaluation: ${output.trim().split("\n")[0]}`, WITHOUT_SERVER)
  if (of.isolation === "server" && of.code === 127) return failure("Failed", "bubblewrap (bwrap) is not installed: a shared server does not evaluate pipeline files without it", WITHOUT_SERVER)
  return failure("Failed", `the evaluation process ended without a plan (${of.signal ?? `exit code ${of.code}`})`, "see its output below", output)
}
