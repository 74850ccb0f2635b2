/** Options of `hf-hub`, and what they mean. */
import { isAbsolute, resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { SecretRef } from "@hypernode/engine/capability/Secrets"

const NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
const REVISION = "[A-Za-z0-9][A-Za-z0-9._/-]{0,127}"

export const Options = Schema.Struct({
  model: Schema.optionalKey(Schema.String.check(Schema.isPattern(new RegExp(`^${NAME}(/${NAME})?$`)))),
  revision: Schema.String.check(Schema.isPattern(new RegExp(`^${REVISION}$`))).pipe(Schema.withDecodingDefaultKey(Effect.succeed("main"))),
  dataset: Schema.optionalKey(Schema.NonEmptyString),
  format: Schema.Literals(["auto", "chat", "text"]).pipe(Schema.withDecodingDefaultKey(Effect.succeed("auto" as const))),
  token: Schema.optionalKey(SecretRef),
  endpoint: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^https?:\/\/[^\s/?#@]+(\/[^\s?#]*)?$/)))
})
export type Options = typeof Options.Type

/** Without a slash at the end. */
export const endpointOf = (options: Options): string => (options.endpoint ?? (process.env["HF_ENDPOINT"] || "https://huggingface.co")).replace(/\/+$/, "")

export interface HubFile {
  readonly repo: string
  readonly revision: string
  readonly path: string
}

/** Undefined: a path of this machine. Null: it begins like a file of the hub and is none. */
export const hubFileOf = (dataset: string): HubFile | undefined | null => {
  if (!dataset.startsWith("hf://")) return undefined
  const match = new RegExp(`^hf://datasets/(${NAME}/${NAME})(?:@(${REVISION.replace("/", "")}))?/(.+)$`).exec(dataset)
  if (match === null || match[3]?.split("/").some((part) => part === "" || part === "." || part === "..") === true) return null
  return { repo: match[1] as string, revision: match[2] ?? "main", path: match[3] as string }
}

export const pathFrom = (projectDirectory: string, path: string): string => (isAbsolute(path) ? path : resolve(projectDirectory, path))

export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision)
