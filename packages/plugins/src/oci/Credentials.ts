/** What a registry is spoken to with. Values live in memory alone: no URL, header line, argv, message or event shows them. */
import { OWN_TENANT } from "@hypernode/engine/capability/Secrets.layer"
import { type SecretRef, Secrets } from "@hypernode/engine/capability/Secrets"
import { StageError } from "@hypernode/engine/stage/StageError"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { dockerCredentials, DockerConfigFault } from "./DockerConfig.ts"

export interface Credentials {
  readonly username: string
  readonly password: string
  /** an OAuth2 refresh token, which token servers take instead of a password */
  readonly identityToken?: string
}

/** `user:password`, as `skopeo --creds` and `curl --user` write it; a password may hold colons. */
const fromSecret = (name: string, value: string): Credentials | StageError => {
  const colon = value.indexOf(":")
  return colon > 0 && colon < value.length - 1 && !/[\r\n]/.test(value)
    ? { username: value.slice(0, colon), password: value.slice(colon + 1) }
    : new StageError({ reason: "InvalidInput", message: `The secret "${name}" is not of the form user:password.`, remedy: `Set it as user:password, one line (for a token, the user that the registry documents beside it).` })
}

/** Of `host`; undefined where none were given. */
export const credentialsFor = Effect.fn("oci.credentialsFor")(function*(
  host: string,
  credentials: SecretRef | "docker" | undefined,
  tenant: string
): Effect.fn.Return<Credentials | undefined, StageError, Secrets> {
  if (credentials === undefined) return undefined
  if (credentials === "docker") {
    // the configuration is that of the process's user, as its environment is
    if (tenant !== OWN_TENANT) return yield* new StageError({ reason: "Denied", message: `credentials: "docker" reads the configuration of this machine's user, which is not the tenant ${tenant}'s.`, remedy: 'Store them for this tenant and pass credentials: secret("NAME").' })
    return yield* Effect.tryPromise({
      try: () => dockerCredentials(host),
      catch: (cause) =>
        cause instanceof DockerConfigFault
          ? new StageError({ reason: "Missing", message: cause.message, remedy: cause.remedy })
          : new StageError({ reason: "Internal", message: "Docker's configuration could not be read." })
    })
  }
  const value = yield* Effect.mapError(
    Secrets.use((secrets) => secrets.get(tenant, credentials)),
    (error) => new StageError({ reason: "Missing", message: error.message, remedy: `It holds user:password for ${host}.` })
  )
  const parsed = fromSecret(credentials.$secret, Redacted.value(value))
  return parsed instanceof StageError ? yield* parsed : parsed
})
