/** `hyper keys`: what the home's keyring holds, secrets taken in, keys destroyed. Values are never printed and never in argv. */
import { createInterface } from "node:readline/promises"
import { text } from "node:stream/consumers"
import type { Api } from "../client/Api.ts"
import { daemon } from "../client/Daemon.ts"
import type { KeyView } from "../daemon/keyRoutes.ts"
import { CliError, ExitCode } from "../ExitCode.ts"
import { TENANT } from "../tenant.ts"

interface Common {
  readonly json?: boolean
}

const list = async (): Promise<{ readonly api: Api; readonly all: ReadonlyArray<KeyView> }> => {
  const api = (await daemon()) as Api
  return { api, all: (await api.get<{ readonly keys: ReadonlyArray<KeyView> }>("/api/v1/daemon/keyring")).keys }
}

const about = ({ kind, publicKey, runs }: KeyView): string =>
  kind === "node" ? `this machine's identity, public key ${publicKey ?? ""}` : kind !== "data set" ? "" : runs === undefined || runs.length === 0 ? "no run needs it" : `opens what ${runs.length === 1 ? `run ${runs[0]!.slice(0, 8)}` : `${runs.length} runs`} sealed`

export const keys = async (options: Common): Promise<ExitCode> => {
  const { all } = await list()
  if (options.json === true) process.stdout.write(`${JSON.stringify(all)}\n`)
  else for (const key of all) process.stdout.write(`${key.kind.padEnd(9)} ${key.name}  ${about(key)}`.trimEnd() + "\n")
  return ExitCode.ok
}

/** Typed without an echo on a terminal, else standard input as it is, without the line end that an editor or echo adds. */
const secretValue = async (name: string): Promise<string> => {
  const { stdin } = process
  if (!stdin.isTTY) return (await text(stdin)).replace(/\r?\n$/, "")
  process.stderr.write(`Value of ${name} (not shown): `)
  stdin.setRawMode(true)
  try {
    let value = ""
    for await (const chunk of stdin) {
      for (const letter of chunk.toString("utf8") as string) {
        if (letter === "\r" || letter === "\n" || letter === "\u0004") return value
        if (letter === "\u0003") throw new CliError(ExitCode.interrupted, "nothing was stored")
        value = letter === "\u007f" ? value.slice(0, -1) : value + letter
      }
    }
    return value
  } finally {
    stdin.setRawMode(false)
    stdin.pause()
    process.stderr.write("\n")
  }
}

export const setKey = async (name: string, options: Common): Promise<ExitCode> => {
  if (!/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name)) throw new CliError(ExitCode.usage, `"${name}" is not a secret's name`, { code: "secret_name", remedy: "letters, digits, _ . and -, as in secret(\"HF_TOKEN\")" })
  const value = await secretValue(name)
  if (value === "") throw new CliError(ExitCode.usage, `the value of ${name} is empty`, { code: "secret_empty", remedy: `pipe it in: printf %s "$TOKEN" | hyper keys set ${name}` })
  const api = (await daemon()) as Api
  await api.post("/api/v1/daemon/secrets", { name, value })
  process.stdout.write(options.json === true ? `${JSON.stringify({ name })}\n` : `stored ${name}: pipelines name it as secret("${name}")\n`)
  return ExitCode.ok
}

const confirmed = async (question: string, name: string): Promise<boolean> => {
  const ask = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return (await ask.question(question)).trim() === name
  } finally {
    ask.close()
  }
}

export const destroyKey = async (given: string, options: Common & { readonly yes?: boolean }): Promise<ExitCode> => {
  const { all, api } = await list()
  const found = all.filter((key) => key.name === given || key.name === `secret/${TENANT}/${given}` || (given.length >= 4 && key.name.startsWith(`dataset/${given}`)))
  const [key] = found
  if (key === undefined || found.length > 1) throw new CliError(ExitCode.notFound, found.length === 0 ? `the keyring has no key ${given}` : `${given} names ${found.length} keys`, { code: "key_not_found", remedy: "hyper keys lists them" })
  const loses = key.kind === "data set" ? `What it sealed can then be opened by nobody but its further recipients, here or in a copy${(key.runs?.length ?? 0) === 0 ? "" : ` (${key.runs!.length} run${key.runs!.length === 1 ? "" : "s"})`}; the next run seals anew.` : "Pipelines that name it then need it set again."
  if (options.yes !== true) {
    if (!process.stdin.isTTY) throw new CliError(ExitCode.usage, `destroying ${key.name} is for good`, { code: "not_confirmed", remedy: `${loses} To do it: hyper keys destroy ${given} --yes` })
    if (!(await confirmed(`Destroying ${key.name} is for good. ${loses}\nType its name to do it: `, key.name))) throw new CliError(ExitCode.refused, "nothing was destroyed", { code: "not_confirmed" })
  }
  await api.post("/api/v1/daemon/keyring/destroy", { name: key.name })
  process.stdout.write(options.json === true ? `${JSON.stringify({ name: key.name, destroyed: true })}\n` : `destroyed ${key.name}\n`)
  return ExitCode.ok
}
