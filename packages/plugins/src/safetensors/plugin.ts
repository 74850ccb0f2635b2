import { createHash } from "node:crypto"
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { definePlugin, stage, type StageContext } from "@hypernode/engine/plugin/Plugin"
import type { Kinds } from "@hypernode/engine/stage/kinds"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { Exported } from "@hypernode/engine/stage/values"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { environmentDigest } from "../trainer/Environment.ts"
import { trainerPython } from "../trainer/Requirements.ts"
import { chooseCheckpoint } from "./choose.ts"
import { mergeAdapter } from "./merge.ts"
import { verifyTree } from "./verifyTree.ts"

export const SafetensorsOptions = Schema.Struct({
  choose: Schema.optionalKey(Schema.Literals(["best", "last"])),
  merge: Schema.optionalKey(Schema.Boolean)
})
export type SafetensorsOptions = typeof SafetensorsOptions.Type

/** Of the programs that a merge runs. */
const mergeDigest = Effect.tryPromise({
  try: async () => {
    const directory = join(trainerPython, "hyper_trainer")
    const hash = createHash("sha256")
    for (const name of (await readdir(directory)).filter((file) => file.endsWith(".py")).toSorted()) hash.update(`${name}\0`).update(await readFile(join(directory, name))).update("\0")
    return hash.digest("hex").slice(0, 16)
  },
  catch: (cause) => new StageError({ reason: "Missing", message: `The trainer's Python files cannot be read: ${String(cause)}`, remedy: "Install @hypernode/plugins again." })
})

const run = Effect.fn("safetensors.checkpoint")(function*(context: StageContext<SafetensorsOptions, Kinds["checkpoint"]["input"]>) {
  const progress = yield* Progress
  const { choose = "best", merge = true } = context.options
  const { trained } = context.input
  const chosen = chooseCheckpoint(trained.checkpoints, choose)
  if (chosen === undefined) {
    return yield* new StageError({ reason: "Missing", message: "The training left no checkpoint", remedy: "Train for at least one step: the train step writes a checkpoint at its end." })
  }
  yield* verifyTree(chosen.tree)
  const loss = chosen.evalLoss === undefined ? `loss ${chosen.loss.toFixed(4)}` : `evaluation loss ${chosen.evalLoss.toFixed(4)}`
  yield* progress.log(`Checkpoint of step ${chosen.step} (${choose} of ${trained.checkpoints.length}, ${loss}) verified`)
  const mergeIt = trained.method === "lora" && merge
  const tree = mergeIt ? yield* mergeAdapter(context, trained.base.tree, chosen.tree) : chosen.tree
  if (mergeIt) yield* verifyTree(tree)
  return {
    base: trained.base,
    form: trained.method === "full" ? "full" : mergeIt ? "merged" : "adapter",
    step: chosen.step,
    loss: chosen.loss,
    ...(chosen.evalLoss !== undefined && { evalLoss: chosen.evalLoss }),
    tree
  } satisfies Exported
})

export default definePlugin({
  id: "safetensors",
  version: "1.0.0",
  stages: {
    checkpoint: stage({
      kind: "checkpoint",
      effect: "pure",
      options: SafetensorsOptions,
      // without a merge no Python has a say in the result
      fingerprint: ({ merge = true }) => (merge ? Effect.all({ environment: environmentDigest, trainer: mergeDigest }) : Effect.succeed({})),
      estimate: ({ merge = true }) => Effect.succeed({ notes: [], sideEffects: [], tools: merge ? ["python >= 3.10"] : [], hosts: [] }),
      body: { run }
    })
  }
})
