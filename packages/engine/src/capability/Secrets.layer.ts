/**
 * Where a secret comes from: for the home's own tenant `default`, the environment variable of that name; then the home's keyring
 * (`secret/<tenant>/<name>`, see `hyper keys set`). Another tenant never sees the environment of the process.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { keyNames, prepareKeyDirectory, readKeyFile, replaceKeyFile } from "../keys/keyFile.ts"
import { CurrentHome } from "./CurrentHome.ts"
import { SecretMissing, Secrets } from "./Secrets.ts"

export const OWN_TENANT = "default"

const NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/
const TENANT = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

export const make = (directory: string, environment: Readonly<Record<string, string | undefined>>): Secrets["Service"] => {
  const keyName = (tenant: string, name: string): string => {
    if (!TENANT.test(tenant) || !NAME.test(name)) throw new Error(`"${name}" is not a secret's name: use letters, digits, "_", "." and "-".`)
    return `secret/${tenant}/${name}`
  }
  return Secrets.of({
    get: (tenant, ref) => {
      const name = ref.$secret
      const value = tenant === OWN_TENANT && NAME.test(name) ? environment[name] : undefined
      if (value !== undefined && value !== "") return Effect.succeed(Redacted.make(value, { label: name }))
      return Effect.tryPromise({
        try: async () => readKeyFile(directory, keyName(tenant, name)),
        catch: (cause) => new SecretMissing({ name, message: `The secret "${name}" cannot be read: ${cause instanceof Error ? cause.message : "unknown failure"}` })
      }).pipe(
        Effect.flatMap((stored) =>
          stored === undefined
            ? Effect.fail(new SecretMissing({ name, message: `The secret "${name}" is not set. ${tenant === OWN_TENANT ? `Set the environment variable ${name} before the daemon starts, or store it with: hyper keys set ${name}` : `Store it for this tenant with: hyper keys set ${name}`}` }))
            : Effect.succeed(Redacted.make(stored, { label: name }))
        )
      )
    },
    set: (tenant, name, value) =>
      Effect.uninterruptible(
        Effect.promise(async () => {
          await prepareKeyDirectory(directory)
          const key = keyName(tenant, name)
          await replaceKeyFile(directory, key, Redacted.value(value))
        })
      ),
    names: (tenant) =>
      Effect.promise(async () => {
        const prefix = `secret/${tenant}/`
        await prepareKeyDirectory(directory)
        return (await keyNames(directory, prefix)).map((name) => name.slice(prefix.length))
      })
  })
}

export const layer = Layer.effect(Secrets, Effect.map(CurrentHome, (home) => make(home.keys, process.env)))
