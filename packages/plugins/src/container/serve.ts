/** The serve stage: a container as a supervised job, a completion from it, then the route. Whatever fails leaves what was served before, and no container. */
import * as Effect from "effect/Effect"
import { Containers } from "@hypernode/engine/capability/Containers"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { engineAddress } from "@hypernode/engine/containers/engineAddress"
import { homeLabel, LABEL } from "@hypernode/engine/containers/labels"
import { ownContainerProgram } from "@hypernode/engine/containers/ownContainerProgram"
import { logTail } from "@hypernode/engine/jobs/logTail"
import { containerFailure } from "@hypernode/engine/stage/containerFailure"
import { jobFailure } from "@hypernode/engine/stage/jobFailure"
import { StageError } from "@hypernode/engine/stage/StageError"
import { bringUp, givenTo, type ServeContext, standing } from "../serving/endpoint.ts"
import { awaitReady, GRACE_MILLIS, RESTARTS, type Signs } from "../serving/ModelServer.ts"
import { layOut } from "../serving/ServerFiles.ts"
import { unfit, WITHOUT } from "./engine.ts"
import { notReady, startFailure } from "./failures.ts"
import type { Options } from "./Options.ts"
import { serverContainer } from "./ServerContainer.ts"

/** Of the supervisor's patience, what is kept for the container's own end. */
const REMOVAL_MILLIS = 5000

/** Ours says what it is; another may say anything, or nothing. */
const signsOf = (options: Options): Signs => ({
  readiness: (said) => {
    if (options.image !== undefined) return { chat: options.chat, device: "in a container" }
    const { chat, device } = JSON.parse(said) as { readonly chat: boolean; readonly device: string }
    return { chat, device: `in a container, on ${device}` }
  },
  failure: startFailure
})

const reachable = Effect.fnUntraced(function* ({ options }: ServeContext<Options>) {
  const containers = yield* Containers
  const reason = unfit(options)(yield* Effect.mapError(containers.engine, containerFailure))
  if (reason !== undefined) return yield* new StageError({ reason: "Missing", message: reason, remedy: WITHOUT })
})

/** The image is there, before anything is started or ended. */
const imageOf = Effect.fnUntraced(function* ({ input, options }: ServeContext<Options>) {
  const containers = yield* Containers
  const wanted = options.image ?? input.packaged?.image?.id
  if (wanted === undefined) return yield* new StageError({ reason: "InvalidInput", message: "This package has no image to run", remedy: "Package with ociImage(), or name an image: container({ image, port })." })
  const image = yield* Effect.mapError(containers.image(wanted), containerFailure)
  if (image === undefined) {
    return yield* new StageError({
      reason: "Missing",
      message: `The image ${options.image ?? input.packaged?.image?.reference} is not on this machine's engine`,
      remedy: options.image === undefined ? "Run the pipeline again: its package step makes the image anew." : `Fetch it first: docker pull ${options.image}`
    })
  }
  return image
})

export const serve = Effect.fn("container.serve")(function* (context: ServeContext<Options>) {
  const jobs = yield* Jobs
  const containers = yield* Containers
  const { options } = context
  const packaged = givenTo(context)
  const name = options.name ?? packaged.name
  const { before, stands } = yield* standing(context)
  if (stands) return before.endpoint

  yield* reachable(context)
  yield* imageOf(context)
  yield* Effect.mapError(containers.sweep({ [LABEL.home]: homeLabel(context.home), [LABEL.purpose]: "serve" }), containerFailure)
  const directory = yield* Effect.mapError(jobs.directory(context.jobKey), jobFailure)
  const files = options.image === undefined ? undefined : yield* layOut(packaged.exported, directory)
  const { spec, upstream } = yield* Effect.tryPromise({
    try: () => serverContainer(context, packaged, files),
    catch: (cause) => new StageError({ reason: "Unavailable", message: `The container's socket cannot be prepared: ${(cause as Error).message}` })
  })
  const handle = yield* Effect.mapError(
    jobs.start(context.jobKey, {
      purpose: "serve",
      runId: context.runId,
      stepId: context.stepId,
      command: ownContainerProgram({ engine: engineAddress(), spec, graceMillis: GRACE_MILLIS - REMOVAL_MILLIS }),
      env: {},
      restarts: RESTARTS,
      graceMillis: GRACE_MILLIS
    }),
    jobFailure
  )
  const server = { handle, upstream }
  const upstreamModel = options.image === undefined ? packaged.name : (options.model ?? name)
  const ready = Effect.timeoutOrElse(awaitReady(server, upstreamModel, signsOf(options)), {
    duration: options.readySeconds * 1000,
    orElse: () => Effect.fail(notReady(logTail(handle.directory), options.readySeconds))
  })
  return (yield* bringUp(context, { name, upstreamModel, server, before }, ready)).endpoint
})
