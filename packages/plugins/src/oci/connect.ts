/** The client for one repository: credentials resolved, encrypted unless it is on this machine or the options say otherwise. */
import type { Secrets } from "@hypernode/engine/capability/Secrets"
import type { StageError } from "@hypernode/engine/stage/StageError"
import * as Effect from "effect/Effect"
import { Authorization } from "./Authorization.ts"
import { credentialsFor } from "./Credentials.ts"
import type { PushOptions } from "./Options.ts"
import { isLoopback, originOf, type Reference } from "./Reference.ts"
import { Registry } from "./Registry.ts"
import type { Sought } from "./registryFailure.ts"

/** `sought` is what a failure is told with. */
export const connect = Effect.fnUntraced(function*(
  options: Pick<PushOptions, "credentials" | "insecure">,
  reference: Reference,
  does: Sought["does"],
  tenant: string,
  mountFrom?: string
): Effect.fn.Return<{ readonly registry: Registry; readonly sought: Sought }, StageError, Secrets> {
  const credentials = yield* credentialsFor(reference.host, options.credentials, tenant)
  const origin = originOf(reference.host, options.insecure)
  const authorization = new Authorization(credentials, { plainHttp: origin.startsWith("http:"), insecure: options.insecure === true && !isLoopback(reference.host) })
  const called = options.credentials === undefined ? undefined : options.credentials === "docker" ? "Docker's configuration" : `secret ${options.credentials.$secret}`
  return { registry: new Registry(origin, reference.repository, authorization, does === "push" ? "pull,push" : "pull", mountFrom), sought: { reference, does, credentials: called } }
})
