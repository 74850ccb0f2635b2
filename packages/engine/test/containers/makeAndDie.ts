/** Starts a container in a process of its own and is killed: `node makeAndDie.ts NAME`. */
import * as Effect from "effect/Effect"
import { Containers } from "../../src/capability/Containers.ts"
import { layer } from "../../src/containers/DockerContainers.ts"
import { shellSpec } from "../../src/testing/containersSuite.ts"

await Effect.runPromise(Effect.provide(Effect.flatMap(Containers, (containers) => containers.start(shellSpec("exec sleep 600", { name: process.argv[2]! }))), layer))
process.kill(process.pid, "SIGKILL")
