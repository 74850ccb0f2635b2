/** The home's keyring, for its owner over the home's socket: names and what hangs on them, never a key. Destroying is for good. */
import { Secrets } from "@hypernode/engine/capability/Secrets"
import { Keyring } from "@hypernode/engine/keys/Keyring"
import { foldRun, type Run } from "@hypernode/engine/run/Run"
import { RunStore } from "@hypernode/engine/run/RunStore"
import type { Sealed } from "@hypernode/engine/stage/values"
import { Context, Effect, Redacted } from "effect"
import { Hono } from "hono"
import { TENANT } from "../tenant.ts"

export interface KeyView {
  /** as `hyper keys destroy` takes it */
  readonly name: string
  readonly kind: "node" | "data set" | "secret" | "endpoint"
  /** of the node: its public half */
  readonly publicKey?: string
  /** of a data set: runs whose sealed segments only this key opens */
  readonly runs?: ReadonlyArray<string>
}

const DATASET = "dataset/"
const SECRET = `secret/${TENANT}/`

const sealedBy = (run: Run): ReadonlyArray<string> => run.steps.flatMap((step) => (step.kind === "encrypt" && step.output !== undefined ? [(step.output as unknown as Sealed).keyId] : []))

export const keyRoutes = (context: Context.Context<Keyring | Secrets | RunStore>): Hono => {
  const run = Effect.runPromiseWith(context)
  const keyring = Context.get(context, Keyring)
  const store = Context.get(context, RunStore)

  const runs = Effect.flatMap(store.list(TENANT, 10_000), (ids) =>
    Effect.forEach(ids, (id) => Effect.map(store.events(id), foldRun), { concurrency: 8 }).pipe(Effect.map((all) => all.filter((one) => one !== undefined))))

  const keys = Effect.gen(function*() {
    const all = yield* runs
    const view = (name: string): KeyView | undefined => {
      if (name.startsWith(DATASET)) return { name, kind: "data set", runs: all.filter((one) => sealedBy(one).includes(name)).map((one) => one.id) }
      if (name.startsWith(SECRET)) return { name, kind: "secret" }
      if (name.startsWith("endpoint/")) return { name, kind: "endpoint" }
      return undefined
    }
    const node: KeyView = { name: "node", kind: "node", publicKey: yield* keyring.publicKey("node") }
    return [node, ...(yield* keyring.names("")).map(view).filter((one) => one !== undefined)]
  })

  const app = new Hono()
  app.get("/api/v1/daemon/keyring", async (c) => c.json({ keys: await run(keys) }))

  app.post("/api/v1/daemon/secrets", async (c) => {
    const { name, value } = await c.req.json<{ name: string; value: string }>()
    await run(Context.get(context, Secrets).set(TENANT, name, Redacted.make(value)))
    return c.json({ name })
  })

  app.post("/api/v1/daemon/keyring/destroy", async (c) => {
    const { name } = await c.req.json<{ name: string }>()
    const refuse = (status: 404 | 409, code: string, message: string, remedy: string) => c.json({ error: { code, message, remedy, requestId: "" } }, status)
    if (!name.startsWith(DATASET) && !name.startsWith(SECRET)) return refuse(409, "key_kept", `${name} is not a key that can be destroyed`, "only keys of data sets and secrets can: hyper keys lists them")
    if (!(await run(keyring.has(name)))) return refuse(404, "key_not_found", `the keyring has no key ${name}`, "hyper keys lists them")
    const needed = (await run(runs)).find((one) => one.endedAt === undefined && sealedBy(one).includes(name))
    if (needed !== undefined) return refuse(409, "key_in_use", `run ${needed.id} is using ${name}`, `wait for it, or cancel it: hyper cancel ${needed.id}`)
    await run(keyring.destroy(name))
    return c.json({ name })
  })
  return app
}
