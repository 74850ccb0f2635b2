/**
 * `hyper plan --types`: what TypeScript says of a pipeline file. Uses the project's own typescript, else one installed beside hyper.
 * Only problems in the project's own files are reported.
 */
import { spawn } from "node:child_process"
import { existsSync, realpathSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join, resolve, sep } from "node:path"
import { fileURLToPath } from "node:url"
import type { RawIssue } from "../pipeline/RawPlan.ts"
import { planError, type PlanError } from "./PlanError.ts"
import { projectRoot } from "./readable.ts"

const compiler = (directory: string): string | undefined => {
  for (const base of [directory, dirname(fileURLToPath(import.meta.url)), dirname(process.argv[1] ?? directory)]) {
    try {
      const root = dirname(createRequire(join(base, "noop.js")).resolve("typescript/package.json"))
      const tsc = ["bin/tsc", "bin/tsc.js", "lib/tsc.js"].map((file) => join(root, file)).find((file) => existsSync(file))
      if (tsc !== undefined) return tsc
    } catch {
      // not here: the next place
    }
  }
  return undefined
}

const hasNodeTypes = (directory: string): boolean => {
  try {
    createRequire(join(directory, "noop.js")).resolve("@types/node/package.json")
    return true
  } catch {
    return false
  }
}

const flags = (file: string, major: number): ReadonlyArray<string> => [
  "--noEmit", "--pretty", "false", "--strict", "--skipLibCheck", "--target", "es2024", "--lib", "es2024,esnext.disposable,dom,dom.iterable", "--module", "nodenext",
  "--allowImportingTsExtensions", "--erasableSyntaxOnly", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--noImplicitOverride",
  // a tsconfig.json on the way up is not for this file alone
  ...(major >= 6 ? ["--ignoreConfig"] : []),
  ...(hasNodeTypes(dirname(file)) ? ["--types", "node"] : []),
  file
]

const LINE = /^(.+?)\((\d+),(\d+)\): error (TS\d+): (.*)$/

const run = (program: string, argv: ReadonlyArray<string>, cwd: string): Promise<{ readonly code: number | null; readonly output: string }> =>
  new Promise((done, fail) => {
    const child = spawn(program, argv, { cwd, stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    child.stdout.on("data", (chunk: Buffer) => void (output += chunk.toString("utf8")))
    child.stderr.on("data", (chunk: Buffer) => void (output += chunk.toString("utf8")))
    child.on("error", fail)
    child.on("close", (code) => done({ code, output }))
  })

/** Resolves to undefined where the types fit, to a PlanError where they do not, or where there is no compiler. */
export const checkTypes = async (path: string): Promise<PlanError | undefined> => {
  const file = realpathSync(resolve(path))
  const directory = dirname(file)
  const tsc = compiler(directory)
  if (tsc === undefined) return planError("Types", path, [{ path: "", message: "there is no typescript to check the types with", hint: "npm install --save-dev typescript" }])
  const version = createRequire(tsc)("../package.json") as { readonly version: string }
  const { code, output } = await run(process.execPath, [tsc, ...flags(file, Number(version.version.split(".")[0]))], directory)
  const root = projectRoot(file)
  const issues: Array<RawIssue> = []
  let mine = false
  for (const text of output.split("\n")) {
    const match = LINE.exec(text)
    if (match !== null) {
      const at = resolve(directory, match[1]!)
      mine = at === file || (at.startsWith(root + sep) && dirname(at).startsWith(directory) && !at.includes(`${sep}node_modules${sep}`))
      if (mine) issues.push({ path: match[4]!, message: match[5]!, at: { file: at, line: Number(match[2]), column: Number(match[3]) } })
    } else if (mine && text.startsWith("  ") && issues.length > 0) {
      const last = issues.at(-1)!
      issues[issues.length - 1] = { ...last, message: `${last.message}\n${text}` }
    }
  }
  if (issues.length > 0) return planError("Types", path, issues)
  if (code !== 0 && !/error TS\d+/.test(output)) return planError("Types", path, [{ path: "", message: `typescript ${version.version} failed: ${output.trim().slice(0, 400)}`, hint: "run tsc by hand to see more" }])
  return undefined
}
