/** The command that runs a confined container in the place of the command it was given: ownContainer.ts, with all it needs in one argument. */
import { randomBytes } from "node:crypto"
import { rmSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { Containers } from "../capability/Containers.ts"
import { type Confinement, SandboxRefused } from "../capability/Sandbox.ts"
import { layer } from "../containers/DockerContainers.ts"
import { engineAddress } from "../containers/engineAddress.ts"
import { homeLabel, LABEL } from "../containers/labels.ts"
import { ownContainerProgram } from "../containers/ownContainerProgram.ts"
import { ensureSandboxImage } from "./checkContainer.ts"
import { containerSpec } from "./containerSpec.ts"
import { sandboxFiles } from "./SandboxFiles.ts"

const leashOf = (directory: string, name: string): string => join(directory, `${name}.leash`)

/** The engine's side: the image is there, and what killed owners of this home left is gone. `directory`: where leashes lie. */
export const prepareEngine = Effect.fn("prepareEngine")(function*(root: string, directory: string) {
  const containers = yield* Containers
  yield* ensureSandboxImage()
  for (const name of yield* containers.sweep({ [LABEL.home]: homeLabel(root) })) rmSync(leashOf(directory, name), { force: true })
}, Effect.provide(layer), Effect.mapError(({ message, remedy }) => new SandboxRefused({ message, remedy })))

export const containerCommand = (confinement: Confinement, root: string, directory: string): readonly [string, ...Array<string>] => {
  const name = `hyper-${randomBytes(8).toString("hex")}`
  const leash = leashOf(directory, name)
  const hosts = join(sandboxFiles(directory).directory, "hosts")
  const spec = containerSpec(confinement, { name, labels: { ...confinement.labels, [LABEL.home]: homeLabel(root) }, env: {} }, hosts, leash)
  return ownContainerProgram({ engine: engineAddress(), spec, leash })
}
