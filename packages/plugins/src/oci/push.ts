/** A package that stands in its layout goes to a registry: blobs that are missing there, then the manifest by its digest, the tag last. */
import { readFile } from "node:fs/promises"
import { Progress } from "@hypernode/engine/stage/Progress"
import * as Effect from "effect/Effect"
import { connect } from "./connect.ts"
import { blobPath } from "./Layout.ts"
import type { Descriptor } from "./ModelPack.ts"
import type { PushOptions } from "./Options.ts"
import { type Reference, referenceOf } from "./Reference.ts"
import { registryFailure } from "./registryFailure.ts"
import { settled } from "@hypernode/engine/stage/settled"
import { tagOnce } from "./TagOnce.ts"

/** at once; more would only share the same line */
const PARALLEL = 4

export interface Pushed {
  /** `host/repository@sha256:…` */
  readonly reference: string
  readonly tag: string
}

export interface Source {
  readonly layout: string
  /** of the manifest, in the layout */
  readonly digest: string
  /** of the base model: `oci:host/repository@…` where it came from a registry, whose blobs can then be mounted */
  readonly base: string
}

const mountable = (base: string, { host, repository }: Reference): string | undefined => {
  const [, from] = /^oci:(.+)@sha256:[0-9a-f]{64}$/.exec(base) ?? []
  return from?.startsWith(`${host}/`) === true && from !== `${host}/${repository}` ? from.slice(host.length + 1) : undefined
}

/** Progress counts bytes that are there, whoever brought them. */
export const push = Effect.fn("oci.push")(function*(options: PushOptions, source: Source, context: { readonly tenant: string; readonly scratch: string; readonly effectKey: string; readonly tag: string }) {
  const progress = yield* Progress
  const reference = referenceOf(options.to)
  const tag = reference.tag ?? context.tag
  const where = `${reference.host}/${reference.repository}`
  const mountFrom = mountable(source.base, reference)
  const { registry, sought } = yield* connect(options, reference, "push", context.tenant, mountFrom)
  const attempt = <A>(call: (signal: AbortSignal) => Promise<A>) => settled(call, (cause) => registryFailure(sought, cause))
  // one request before the parallel ones: what is refused is refused once, and one token serves all
  const named = yield* attempt((signal) => registry.resolve(tag, signal))
  const text = yield* attempt(() => readFile(blobPath(source.layout, source.digest), "utf8"))
  const manifest = JSON.parse(text) as { readonly config: Descriptor; readonly layers: ReadonlyArray<Descriptor> }
  const blobs = [...new Map([...manifest.layers, manifest.config].map((blob) => [blob.digest, blob])).values()]
  const total = blobs.reduce((sum, { size }) => sum + size, 0)
  let done = 0
  const report = () => progress.report({ done: Math.min(done, total), total, unit: "bytes", label: `pushing to ${where}` })
  const follow = Effect.gen(function*() {
    for (;;) {
      yield* report()
      yield* Effect.sleep("250 millis")
    }
  })
  const sending = Effect.forEach(
    blobs,
    (blob) =>
      attempt(async (signal) => {
        const outcome = await registry.pushBlob(blob.digest, { path: blobPath(source.layout, blob.digest), size: blob.size, onBytes: (bytes) => (done += bytes) }, mountFrom, signal)
        if (outcome !== "sent") done += blob.size
        return { outcome, size: blob.size }
      }),
    { concurrency: PARALLEL }
  )
  const outcomes = yield* Effect.raceFirst(sending, follow)
  yield* report()
  // by digest first: what the registry says that it has must be ours before a tag moves
  if (named !== source.digest) yield* attempt((signal) => registry.putManifest(source.digest, source.digest, text, signal))
  const tagged = yield* attempt((signal) => tagOnce({ registry, tag, digest: source.digest, text, scratch: context.scratch, effectKey: context.effectKey }, signal))
  const sent = outcomes.filter(({ outcome }) => outcome === "sent")
  const mounted = outcomes.filter(({ outcome }) => outcome === "mounted").length
  yield* progress.log(`Pushed ${where}:${tag} as ${source.digest}: ${sent.length} of ${blobs.length} blobs sent (${sent.reduce((sum, { size }) => sum + size, 0)} bytes)${mounted === 0 ? "" : `, ${mounted} mounted`}`)
  if (tagged === "superseded") yield* progress.log(`Somebody has moved ${where}:${tag} since this step first set it; it was left as it is`, "warn")
  return { reference: `${where}@${source.digest}`, tag } satisfies Pushed
})

/** Whether the tag still names the digest. */
export const stillPushed = Effect.fn("oci.stillPushed")(function*(options: PushOptions, pushed: Pushed | undefined, digest: string, context: { readonly tenant: string; readonly tag: string }) {
  const reference = referenceOf(options.to)
  const tag = reference.tag ?? context.tag
  if (pushed?.reference !== `${reference.host}/${reference.repository}@${digest}` || pushed.tag !== tag) return false
  const { registry, sought } = yield* connect(options, reference, "pull", context.tenant)
  return (yield* settled((signal) => registry.resolve(tag, signal), (cause) => registryFailure(sought, cause))) === digest
})
