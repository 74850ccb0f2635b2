/**
 * Setting a tag is this stage's one effect on the outside that is not content-addressed, so it is done once for an effect key (run, step).
 * What the tag named before is written down first. A later attempt that finds another digest there knows that somebody has moved the tag
 * since, and that moving it back would undo their work: ours counts as done before theirs.
 */
import { createHash } from "node:crypto"
import { mkdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { writeAtomically } from "./Layout.ts"
import type { Registry } from "./Registry.ts"

export interface Tagging {
  readonly registry: Registry
  readonly tag: string
  readonly digest: string
  /** of the manifest, byte for byte */
  readonly text: string
  /** lives as long as the step */
  readonly scratch: string
  readonly effectKey: string
}

/** `there`: it named this digest already; `set`: it does now; `superseded`: somebody moved it after an earlier attempt of ours. */
export const tagOnce = async ({ digest, effectKey, registry, scratch, tag, text }: Tagging, signal: AbortSignal): Promise<"there" | "set" | "superseded"> => {
  const note = join(scratch, `tag-${createHash("sha256").update(`${effectKey}\n${tag}\n${digest}`).digest("hex").slice(0, 32)}.json`)
  const names = await registry.resolve(tag, signal)
  if (names === digest) return "there"
  const before = await readFile(note, "utf8").then((json) => JSON.parse(json) as { readonly names: string | null }, () => undefined)
  if (before !== undefined && (names ?? null) !== before.names) return "superseded"
  if (before === undefined) {
    await mkdir(scratch, { recursive: true, mode: 0o700 })
    await writeAtomically(note, JSON.stringify({ names: names ?? null }))
  }
  await registry.putManifest(tag, digest, text, signal)
  return "set"
}
