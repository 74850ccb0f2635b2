/** What a watch tells whoever follows it: one JSON object each, as `hyper watch --json` prints them. */
import * as Schema from "effect/Schema"

const file = { commit: Schema.String, file: Schema.String }
const why = { message: Schema.String, remedy: Schema.optionalKey(Schema.String) }

export const WatchEvent = Schema.Union([
  Schema.Struct({ type: Schema.Literal("watching"), repository: Schema.String, branch: Schema.String, path: Schema.String, evaluation: Schema.Literals(["bubblewrap", "permission model"]) }),
  /** a look that found the branch elsewhere; `lookedAt`: when it began, epoch milliseconds */
  Schema.Struct({ type: Schema.Literal("head"), commit: Schema.String, commits: Schema.Int, skipped: Schema.Int, lookedAt: Schema.Int }),
  Schema.Struct({ type: Schema.Literal("commit"), commit: Schema.String, files: Schema.Array(Schema.String) }),
  Schema.Struct({ type: Schema.Literal("planned"), ...file, planDigest: Schema.String, message: Schema.String }),
  Schema.Struct({ type: Schema.Literal("refused"), ...file, ...why }),
  Schema.Struct({ type: Schema.Literal("unplannable"), ...file, ...why }),
  Schema.Struct({ type: Schema.Literal("run"), ...file, runId: Schema.String, planDigest: Schema.String }),
  Schema.Struct({ type: Schema.Literal("ended"), ...file, runId: Schema.String, state: Schema.String, message: Schema.optionalKey(Schema.String) }),
  Schema.Struct({ type: Schema.Literal("reported"), commit: Schema.String, target: Schema.Literals(["note", "status"]), state: Schema.String }),
  Schema.Struct({ type: Schema.Literal("unreported"), commit: Schema.String, target: Schema.Literals(["note", "status"]), ...why, again: Schema.Boolean }),
  /** a look failed, and is tried again */
  Schema.Struct({ type: Schema.Literal("trouble"), ...why }),
  /** the last one. `code`: an exit code of `hyper` */
  Schema.Struct({ type: Schema.Literal("end"), code: Schema.Int, message: Schema.optionalKey(Schema.String), remedy: Schema.optionalKey(Schema.String) })
])
export type WatchEvent = typeof WatchEvent.Type
