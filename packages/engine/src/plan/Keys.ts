/**
 * The three keys, never one (design.md, section 5). Pure functions: the same arguments give the same key on every machine and in every
 * release that keeps KEY_VERSION.
 *
 * - `cacheKey`: may the output of an earlier run be used? By content: who, what code, which options, which inputs.
 * - `jobKey`: is this the process that this attempt started?
 * - `effectKey`: has this run's effect on the outside (a push, a payout, an endpoint) already happened?
 */
import { digestOfJson, type Digest } from "../artifact/Digest.ts"
import type { PlanStep } from "./Plan.ts"

/** Raised when the meaning of a key changes, so that old cache entries are missed and not misread. */
const KEY_VERSION = 1

/**
 * Secrets enter by name only: options hold `{ $secret: name }`. The step's id, and where the plugin was found, do not enter: renaming a
 * step or moving a project keeps its cache. `fingerprint` is the stage's own (trainer and environment digests, a file's identity, world
 * size and device class); `inputs` are the resolved values.
 */
export const cacheKey = (of: {
  readonly tenant: string
  readonly step: Pick<PlanStep, "kind" | "plugin" | "options">
  readonly fingerprint: unknown
  readonly inputs: Readonly<Record<string, unknown>>
}): Digest =>
  digestOfJson({
    key: KEY_VERSION,
    tenant: of.tenant,
    kind: of.step.kind,
    plugin: { id: of.step.plugin.id, sourceDigest: of.step.plugin.sourceDigest, contractVersion: of.step.plugin.contractVersion },
    options: of.step.options,
    fingerprint: of.fingerprint ?? null,
    inputs: of.inputs
  })

/** Parts are escaped, so that no two triples share a key. */
const joined = (...parts: ReadonlyArray<string | number>): string => parts.map((part) => encodeURIComponent(part)).join("/")

/** `<run>/<step>/<attempt>` */
export const jobKey = (runId: string, stepId: string, attempt: number): string => joined(runId, stepId, attempt)

/** `<run>/<step>` */
export const effectKey = (runId: string, stepId: string): string => joined(runId, stepId)
