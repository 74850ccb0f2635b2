/**
 * A base image for a machine that reaches no registry: a root with nothing in it, over which this machine's own programs and Python
 * environment are mounted when it runs (`container({ mounts })`), as the sandbox has them.
 */
import { dirname } from "node:path"
import { Containers } from "@hypernode/engine/capability/Containers"
import { sandboxImage } from "@hypernode/engine/sandbox/containerSpec"
import { Progress } from "@hypernode/engine/stage/Progress"
import * as Effect from "effect/Effect"
import { pythonEnvironment } from "../../src/trainer/Environment.ts"

export const BASE = "hyper-test-base:1"

/** Builds it; the directories to mount. */
export const hostBase = (cache: string): Effect.Effect<ReadonlyArray<string>, unknown, Containers | Progress> =>
  Effect.gen(function*() {
    const containers = yield* Containers
    const { python, readOnly } = yield* pythonEnvironment(cache)
    const { context, dockerfile } = sandboxImage()
    yield* containers.build({ reference: BASE, dockerfile: `${dockerfile}ENV PATH=${dirname(python)}:/usr/bin:/bin\n`, context, labels: {} })
    return ["/usr", ...readOnly]
  })
