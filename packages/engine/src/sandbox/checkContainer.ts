/** Makes the sandbox's image where it is not there yet, runs one container, and looks from inside. */
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { Containers } from "../capability/Containers.ts"
import { layer } from "../containers/DockerContainers.ts"
import { LABEL } from "../containers/labels.ts"
import { containerSpec, sandboxImage } from "./containerSpec.ts"

/** True inside: not root, no capability, no new privilege, loopback as the only interface, a root that cannot be written. */
const CHECK = `[ "$(id -u)" != 0 ] && grep -q "^CapEff:.0000000000000000$" /proc/self/status && grep -q "^NoNewPrivs:.1$" /proc/self/status && [ "$(grep -c : /proc/net/dev)" = 1 ] && [ ! -e /etc/shadow ] && ! touch /x 2>/dev/null && touch /tmp/x && echo confined`

/** Built from files of ours alone: no network, no base. */
export const ensureSandboxImage = Effect.fn("ensureSandboxImage")(function*() {
  const containers = yield* Containers
  const { context, dockerfile, reference } = sandboxImage()
  if ((yield* containers.image(reference)) === undefined) yield* containers.build({ reference, dockerfile, context, labels: { [LABEL.purpose]: "sandbox" } })
})

/** Undefined: it confines. Otherwise why not. */
export const checkContainer = (fixtures: string): Promise<string | undefined> =>
  Effect.runPromise(
    Effect.gen(function*() {
      const containers = yield* Containers
      yield* ensureSandboxImage()
      const spec = containerSpec({ command: ["/bin/sh", "-c", CHECK], readOnly: [], writable: [], sockets: [], cwd: "/tmp" }, { name: `hyper-check-${randomBytes(6).toString("hex")}`, labels: { [LABEL.purpose]: "check" }, env: {} }, join(fixtures, "hosts"))
      const { exitCode, output } = yield* containers.run({ ...spec, stdin: false })
      return exitCode === 0 && output.trim() === "confined" ? undefined : `the check inside it failed (exit code ${exitCode}) ${output.trim().slice(-200)}`.trim()
    }).pipe(
      Effect.catch((failure) => Effect.succeed(failure.message)),
      Effect.provide(layer)
    )
  )
