/** Options of `oci` (package) and `ociModel` (select), and what can be said of a registry before anything runs. */
import { SecretRef } from "@hypernode/engine/capability/Secrets"
import type { PlanNote } from "@hypernode/engine/plugin/Plugin"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ANNOTATION_PREFIX } from "./ModelPack.ts"
import { isLoopback, originOf, parseReference, referenceOf, TAG } from "./Reference.ts"

const NAME = /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*$/

const RegistryReference = Schema.String.check(
  Schema.makeFilter((text) => {
    const reference = parseReference(text)
    return typeof reference === "string" ? `a registry reference ${reference}` : undefined
  })
)

const access = {
  credentials: Schema.optionalKey(Schema.Union([SecretRef, Schema.Literal("docker")])),
  insecure: Schema.optionalKey(Schema.Boolean)
}
interface Access {
  readonly credentials?: SecretRef | "docker"
  readonly insecure?: boolean
}

export const PushOptions = Schema.Struct({
  to: RegistryReference.check(Schema.makeFilter((text) => (text.includes("@sha256:") ? "a push goes to a tag: the digest is the package's own" : undefined))),
  ...access
})
export type PushOptions = typeof PushOptions.Type

export const OciOptions = Schema.Struct({
  name: Schema.optionalKey(Schema.String.check(Schema.isPattern(NAME, { message: "lower-case letters and digits, with . _ - between them" }), Schema.isMaxLength(128))),
  tag: Schema.optionalKey(Schema.String.check(Schema.isPattern(TAG, { message: "letters, digits, _ . -; at most 128" }))),
  annotations: Schema.optionalKey(
    Schema.Record(Schema.String, Schema.String).check(
      Schema.makeFilter((annotations) => {
        const ours = Object.keys(annotations).find((key) => key.startsWith(ANNOTATION_PREFIX))
        return ours === undefined ? undefined : `${ours}: annotations under ${ANNOTATION_PREFIX} are set by this plugin`
      })
    )
  ),
  push: Schema.optionalKey(PushOptions)
})
export type OciOptions = typeof OciOptions.Type

export const PullOptions = Schema.Struct({ model: RegistryReference, ...access })
export type PullOptions = typeof PullOptions.Type

/** Credentials that are not there are worth knowing of before hours of training, not after. Starts no helper, asks no registry. */
export const registryNotes = (text: string, { credentials, insecure }: Access): Effect.Effect<ReadonlyArray<PlanNote>> =>
  Effect.promise(async () => {
    const { host } = referenceOf(text)
    const notes: Array<PlanNote> = []
    if (originOf(host, insecure).startsWith("http:") && !isLoopback(host)) {
      notes.push({ level: "warn", message: `${host} is spoken to unencrypted: whoever is on the way can read and change the model${credentials === undefined ? "" : " and read the credentials"}`, remedy: "leave insecure out where the registry speaks TLS" })
    }
    if (credentials === "docker") {
      const { hasDockerCredentials } = await import("./DockerConfig.ts")
      const fault = await hasDockerCredentials(host)
      if (fault !== undefined) notes.push({ level: "refuse", message: fault.message, remedy: fault.remedy })
    }
    return notes
  })
