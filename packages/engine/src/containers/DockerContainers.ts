/** The Containers capability over the Docker engine of this machine (or of DOCKER_HOST). Opened when it is first asked for something. */
import { PassThrough } from "node:stream"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { ContainerFailure, Containers, type ContainerSpec } from "../capability/Containers.ts"
import { DockerEngine } from "./DockerEngine.ts"
import type { EngineFault } from "./EngineFault.ts"
import { engineHere } from "./engineHere.ts"
import { whyEnded } from "./whyEnded.ts"

const OUTPUT_BYTES = 64 * 1024
const LAST_WORDS_MILLIS = 1000

const failure = (cause: unknown): ContainerFailure => {
  const { message, reason, remedy } = cause as EngineFault
  return reason === undefined ? new ContainerFailure({ reason: "Refused", message: String(cause), remedy: "This is a fault of ours: please report it." }) : new ContainerFailure({ reason, message, remedy })
}

const ask = <A>(call: (engine: DockerEngine, signal: AbortSignal) => Promise<A>): Effect.Effect<A, ContainerFailure> =>
  Effect.tryPromise({ try: async (signal) => call(await DockerEngine.open(), signal), catch: failure })

/** The end of what it says, kept while it runs: nothing need be on the engine's disk for it. */
const listen = async (engine: DockerEngine, id: string): Promise<() => Promise<string>> => {
  const { split, stream } = await engine.attach(id, false)
  const closed = new Promise<void>((resolve) => stream.once("close", resolve))
  stream.on("error", () => {}) // whoever waits for its end is told
  let said = Buffer.alloc(0)
  const sink = new PassThrough().on("data", (chunk: Buffer) => (said = Buffer.concat([said, chunk]).subarray(-OUTPUT_BYTES)))
  split(sink, sink)
  return async () => {
    // the end may be told before the last words have arrived
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MILLIS))])
    return said.toString("utf8")
  }
}

/** A container that could not be started is not left lying about. */
const start = (spec: ContainerSpec) =>
  Effect.uninterruptible(
    Effect.flatMap(ask((engine) => engine.create(spec)), (id) => Effect.tapError(Effect.as(ask((engine) => engine.start(id, spec.name)), id), () => Effect.ignore(ask((engine) => engine.remove(id)))))
  )

const run = Effect.fn("Containers.run")(function*(spec: ContainerSpec) {
  return yield* Effect.acquireUseRelease(
    ask((engine) => engine.create(spec)),
    (id) =>
      ask(async (engine) => {
        const output = await listen(engine, id)
        const { ended } = await engine.wait(id, "next-exit")
        await engine.start(id, spec.name)
        const end = await ended
        const said = await output()
        return { ...end, why: whyEnded(end, said), output: said }
      }),
    (id, exit) => {
      const removed = ask((engine) => engine.remove(id))
      return Exit.isSuccess(exit) ? removed : Effect.ignore(removed)
    }
  )
})

export const layer = Layer.succeed(
  Containers,
  Containers.of({
    engine: Effect.tryPromise({ try: () => engineHere(), catch: failure }),
    build: (spec, progress = () => {}) =>
      ask(async (engine, signal) => {
        const { contextTar } = await import("./buildContext.ts")
        const { buildArgs, context, dockerfile, labels, network, reference } = spec
        const tar = contextTar([{ path: "Dockerfile", content: dockerfile }, ...context])
        return engine.build({ reference, context: tar, labels, ...(buildArgs === undefined ? {} : { buildArgs }), ...(network === undefined ? {} : { network }) }, signal, progress)
      }),
    image: (reference) => ask((engine) => engine.image(reference)),
    removeImage: (reference) => ask((engine) => engine.removeImage(reference)),
    start,
    ended: (id) => ask((engine) => engine.ended(id)),
    run,
    logs: (id, lines) => ask((engine) => engine.logs(id, lines)),
    kill: (id, signal) => ask((engine) => engine.kill(id, signal)),
    remove: (id) => ask((engine) => engine.remove(id)),
    list: (labels) => ask((engine) => engine.list(labels)),
    sweep: (labels) => ask((engine) => engine.sweep(labels))
  })
)
