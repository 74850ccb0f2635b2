/** `oci-image` (package): a runnable image of the model server and the weights, beside the ModelPack. */
import * as Effect from "effect/Effect"
import { engineHasImage } from "@hypernode/engine/containers/engineHere"
import { engineNote } from "@hypernode/engine/containers/engineNote"
import { definePlugin, type Estimate, type PlanNote, stage } from "@hypernode/engine/plugin/Plugin"
import { DEFAULT_BASE, Options } from "./Options.ts"
import { serverDigest } from "./ServerSource.ts"

/** What a plan does not need is loaded when a stage runs. */
const building = Effect.promise(() => import("./build.ts"))

/** Found out now, and not after the training, whether the base is here. */
const baseNote = (base: string): Promise<ReadonlyArray<PlanNote>> =>
  engineHasImage(base).then(
    (there) => (there ? [] : [{ level: "warn", message: `the base image ${base} is not on this engine: building fetches it from its registry`, remedy: `docker pull ${base} tells before anything is spent whether it can be had; or name one that is here: ociImage({ base })` }]),
    () => [] // no engine: that is told already
  )

const estimate = (options: Options): Effect.Effect<Estimate> =>
  Effect.map(Effect.promise(() => Promise.all([engineNote("Package with oci() and serve with transformers(), which need no engine"), baseNote(options.base)])), ([engine, base]) => {
    const notes: Array<PlanNote> = [engine, ...base]
    if (!options.base.includes("@sha256:")) notes.push({ level: "warn", message: `the base image ${options.base} is named by tag: it may change between two builds`, remedy: "name it with its digest: image:tag@sha256:..." })
    return {
      notes,
      sideEffects: ["writes an OCI layout below packages/ of the home", "builds an image on this machine's Docker engine"],
      tools: ["docker"],
      hosts: options.base === DEFAULT_BASE ? ["Docker Hub, where the engine does not have the base image yet"] : [],
      ...(options.install ? { seconds: [30, 900] as const } : { seconds: [2, 120] as const })
    }
  })

export default definePlugin({
  id: "oci-image",
  version: "0.1.0",
  stages: {
    package: stage({
      kind: "package",
      effect: "pure",
      options: Options,
      fingerprint: () => Effect.sync(() => ({ server: serverDigest() })),
      estimate,
      alive: (output, context) => Effect.flatMap(building, ({ stands }) => stands(output, context)),
      body: { run: (context) => Effect.flatMap(building, ({ build }) => build(context)) }
    })
  }
})
