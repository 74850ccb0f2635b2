/** Drives the package stage of `oci` with a push, and asks a registry what it has, without the client under test. */
import { createHash, randomBytes } from "node:crypto"
import type { ShortStage } from "@hypernode/engine/plugin/Plugin"
import type { Packaged } from "@hypernode/engine/stage/values"
import type { OciOptions } from "../../src/oci/Options.ts"
import plugin from "../../src/oci/plugin.ts"
import { PASSWORD, USER } from "./registryServer.ts"
import { exportedOf, type World } from "./world.ts"

const definition = plugin.stages.package!
export const body = definition.body as ShortStage<OciOptions, { readonly checkpoint: Packaged["exported"] }, Packaged>

export const secretValue = `${USER}:${PASSWORD}`
/** The name under which the tests' worlds keep it. */
export const credentials = { $secret: "REGISTRY" }

export type Files = Readonly<Record<string, string | Uint8Array>>

/** A model whose weights no registry has seen before. */
export const freshFiles = (bytes = 300_000): Files => ({ "config.json": `{"n":"${randomBytes(8).toString("hex")}"}`, "model.safetensors": randomBytes(bytes), "tokenizer.json": "{}" })

export const packageOnce = async (w: World, options: OciOptions, files: Files, change: (exported: Packaged["exported"]) => Packaged["exported"] = (same) => same): Promise<Packaged> =>
  w.run(body.run(w.context(options, { checkpoint: change(exportedOf(await w.tree(files))) })))

export const alive = (w: World, packaged: Packaged, options: OciOptions): Promise<boolean> => w.run(definition.alive!(packaged, w.context(options, undefined)))

export const sha256 = (bytes: Uint8Array | string): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`

export const basic = (user = USER, password = PASSWORD): Record<string, string> => ({ authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` })

/** Tags of a repository; none where there is no repository. */
export const tagsOf = async (host: string, repository: string): Promise<ReadonlyArray<string>> => {
  const answer = await fetch(`http://${host}/v2/${repository}/tags/list`, { headers: basic() })
  return answer.status === 404 ? [] : ((await answer.json()) as { readonly tags: ReadonlyArray<string> | null }).tags ?? []
}

export const ACCEPT = { accept: "application/vnd.oci.image.manifest.v1+json" }

export const digestAt = async (host: string, repository: string, reference: string): Promise<string | undefined> => {
  const answer = await fetch(`http://${host}/v2/${repository}/manifests/${reference}`, { headers: { ...basic(), ...ACCEPT } })
  return answer.status === 200 ? sha256(await answer.text()) : undefined
}

/** Every text in which a secret could have been left. */
export const texts = (w: World, error?: unknown): string => [...w.logged, ...w.reported.map(({ label }) => label), JSON.stringify(error), error instanceof Error ? `${error.message}\n${error.stack}` : ""].join("\n")
