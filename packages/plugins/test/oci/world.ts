/** A home in a temporary directory, its artifact store, and a tiny model tree in it. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { make } from "@hypernode/engine/artifact/FileArtifactStore"
import { Secrets } from "@hypernode/engine/capability/Secrets"
import { make as makeSecrets } from "@hypernode/engine/capability/Secrets.layer"
import type { StageContext } from "@hypernode/engine/plugin/Plugin"
import { Progress } from "@hypernode/engine/stage/Progress"
import type { Exported, Model } from "@hypernode/engine/stage/values"
import * as Effect from "effect/Effect"

export interface World {
  readonly home: string
  readonly store: ArtifactStore["Service"]
  readonly tree: (files: Readonly<Record<string, string | Uint8Array>>) => Promise<Exported["tree"]>
  readonly context: <Options, Input>(options: Options, input: Input, pipeline?: string) => StageContext<Options, Input>
  readonly provided: <A, E>(effect: Effect.Effect<A, E, any>) => Effect.Effect<A, E>
  readonly run: <A, E>(effect: Effect.Effect<A, E, any>) => Promise<A>
  readonly logged: Array<string>
  readonly reported: Array<{ readonly done: number; readonly total?: number; readonly unit: string; readonly label: string }>
  readonly dispose: () => Promise<void>
}

/** `environment`: where the secrets of the home's own tenant come from; `at`: a home that is there already. */
export const world = async (environment: Readonly<Record<string, string>> = {}, at?: string): Promise<World> => {
  const home = at ?? (await mkdtemp(join(tmpdir(), "oci-")))
  const store = await Effect.runPromise(make(join(home, "artifacts")))
  const secrets = makeSecrets(join(home, "keys"), environment)
  const logged: Array<string> = []
  const reported: World["reported"] = []
  const progress = Progress.of({ log: (message) => Effect.sync(() => void logged.push(message)), report: (progress) => Effect.sync(() => void reported.push(progress)) })
  let n = 0
  const provided: World["provided"] = (effect) => effect.pipe(Effect.provideService(ArtifactStore, store), Effect.provideService(Progress, progress), Effect.provideService(Secrets, secrets)) as Effect.Effect<any, any>
  return {
    home,
    store,
    logged,
    reported,
    tree: async (files) => {
      const directory = join(home, `source-${n++}`)
      for (const [path, content] of Object.entries(files)) {
        await mkdir(dirname(join(directory, path)), { recursive: true })
        await writeFile(join(directory, path), content)
      }
      return Effect.runPromise(store.putTree(directory))
    },
    context: (options, input, pipeline = "Support Bot") => ({
      tenant: "default", runId: "run-1", stepId: "package", attempt: 1, jobKey: "run-1/package/1", effectKey: "run-1/package",
      pipeline, options, input, projectDirectory: home, scratch: join(home, "scratch"), home, cache: join(home, "cache")
    }),
    provided,
    run: (effect) => Effect.runPromise(provided(effect)),
    dispose: () => rm(home, { recursive: true, force: true })
  }
}

export const modelFiles = { "config.json": `{"torch_dtype":"float32"}`, "model.safetensors": Buffer.alloc(4096, 7), "tokenizer.json": "{}", "README.md": "# hello", "odd.xyz": "?" }

export const exportedOf = (tree: Exported["tree"], form: Exported["form"] = "merged"): Exported => {
  const base: Model = { name: "org/tiny", source: "hf:org/tiny@abc", revision: "abc", tree, architecture: "llama", parameters: 134_515_008, license: "apache-2.0" }
  return { base, form, step: 12, loss: 0.5, tree }
}
