/** Decodes a step's options by its plugin's schema; problems become issues with a path and the nearest name. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import type { RawIssue } from "../pipeline/RawPlan.ts"
import { toJson, type NotJson } from "../pipeline/json.ts"
import { didYouMean } from "../plugin/near.ts"
import type { StageDefinition } from "../plugin/Plugin.ts"

const SECRET = /token|secret|password|key|credential/i

/** The value at a path, short, and never one that may be a secret. */
const given = (options: unknown, path: ReadonlyArray<PropertyKey>): string => {
  const value = path.reduce<unknown>((inner, key) => (typeof inner === "object" && inner !== null ? (inner as Record<PropertyKey, unknown>)[key] : undefined), options)
  if (value === undefined) return "nothing"
  if (value === null || typeof value === "number" || typeof value === "boolean") return String(value)
  // `user:password@host` in an address is a secret as well
  if (typeof value === "string") return value.length > 40 || /:[^/]*@/.test(value) || path.some((key) => SECRET.test(String(key))) ? "a string" : JSON.stringify(value)
  return Array.isArray(value) ? "an array" : "an object"
}

const namesOf = (ast: SchemaAST.AST): ReadonlyArray<string> => (ast._tag === "Objects" ? ast.propertySignatures.map((property) => String(property.name)) : [])

const lower = (text: string): string => text.slice(0, 1).toLowerCase() + text.slice(1)

const UNEXPECTED = "\u0000unexpected\u0000"

const format = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => {
    if (issue._tag === "UnexpectedKey") return `${UNEXPECTED}${namesOf(issue.ast).join("\u0000")}`
    if (issue._tag === "MissingKey") return "is missing"
    return SchemaIssue.defaultLeafHook(issue)
  }
})

const toIssue = (options: unknown, base: string, name: string) => (problem: { readonly path?: ReadonlyArray<unknown> | undefined; readonly message: string }): RawIssue => {
  const keys = (problem.path ?? []).map((segment) => (typeof segment === "object" && segment !== null && "key" in segment ? segment.key : segment) as PropertyKey)
  const path = [base, ...keys.map(String)].join(".")
  if (problem.message.startsWith(UNEXPECTED)) {
    const names = problem.message.slice(UNEXPECTED.length).split("\u0000").filter((n) => n !== "")
    return { path, message: `${name} has no option ${keys.map(String).join(".")}`, hint: didYouMean(String(keys.at(-1)), names, "options") }
  }
  if (problem.message === "is missing") return { path, message: `${name} needs the option ${keys.map(String).join(".")}`, hint: "add it" }
  return { path, message: `${lower(problem.message)}, got ${given(options, keys)}` }
}

export type Decoded =
  | { readonly ok: true; readonly decoded: unknown; readonly encoded: unknown }
  | { readonly ok: false; readonly issues: ReadonlyArray<RawIssue> }

/** `encoded` has the schema's defaults filled in and is JSON. */
export const decodeOptions = (stage: StageDefinition, options: unknown, base: string, name: string): Effect.Effect<Decoded> =>
  Effect.gen(function*() {
    const decoded: unknown = yield* Schema.decodeUnknownEffect(stage.options)(options, { errors: "all", onExcessProperty: "error" })
    const encoded: unknown = yield* Schema.encodeUnknownEffect(stage.options)(decoded)
    const problems: Array<NotJson> = []
    const json = toJson(encoded, base, problems, new Set())
    return problems.length === 0 ? { ok: true as const, decoded, encoded: json } : { ok: false as const, issues: problems }
  }).pipe(
    Effect.catchTag("SchemaError", (error) => Effect.succeed({ ok: false as const, issues: format(error.issue).issues.map(toIssue(options, base, name)) })),
    Effect.catchDefect((defect) => Effect.succeed({ ok: false as const, issues: [{ path: base, message: `${name} could not read its options: ${defect instanceof Error ? defect.message : String(defect)}` }] }))
  )
