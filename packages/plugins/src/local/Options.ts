/** Options of `local`, and where their paths lead. */
import { isAbsolute, resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export const Options = Schema.Struct({
  model: Schema.optionalKey(Schema.NonEmptyString),
  dataset: Schema.optionalKey(Schema.NonEmptyString),
  format: Schema.Literals(["auto", "chat", "text"]).pipe(Schema.withDecodingDefaultKey(Effect.succeed("auto" as const)))
})
export type Options = typeof Options.Type

export const pathFrom = (projectDirectory: string, path: string): string => (isAbsolute(path) ? path : resolve(projectDirectory, path))
