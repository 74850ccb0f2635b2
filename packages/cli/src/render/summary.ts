/** What a finished run leaves behind, said once at its end: how to call the endpoint, what was made, under what trust, at what cost, paid to whom and why. */
import type { Run } from "@hypernode/engine/run/Run"
import type { StoredEvent } from "@hypernode/engine/run/RunEvent"
import type { Endpoint, Exported, Packaged, Settlement, Trained } from "@hypernode/engine/stage/values"
import type { Api } from "../client/Api.ts"
import { bytes, dollars, hyper } from "./words.ts"

export interface Summary {
  readonly runId: string
  readonly state: Run["state"]
  readonly cached: ReadonlyArray<string>
  readonly failed: ReadonlyArray<{ readonly step: string; readonly message: string; readonly remedy?: string }>
  readonly endpoint?: { readonly id: string; readonly url: string; readonly model: string; readonly key: string; readonly curl: string }
  /** what the serve stage asked both models, where its options have a `probe` */
  readonly question?: string
  readonly answers: ReadonlyArray<string>
  readonly package?: {
    readonly name: string
    readonly digest: string
    readonly size: number
    readonly layout: string
    readonly form: string
    readonly pushed?: string
    readonly image?: { readonly reference: string; readonly id: string; readonly size: number }
  }
  readonly training?: { readonly method: string; readonly firstLoss: number; readonly lastLoss: number; readonly tokens: number; readonly worldSize: number; readonly deviceClass: string; readonly sandbox: string; readonly trustTier: string }
  readonly cost: { readonly dollars: number; readonly deviceSeconds: number; readonly pricePerSecond: number }
  readonly rewards: ReadonlyArray<{ readonly node: string; readonly units: string; readonly reason: string }>
  readonly returnedUnits?: string
  readonly unlocksAt?: number
}

const outputOf = <A>(run: Run, kind: string): A | undefined => run.steps.find((s) => s.kind === kind)?.output as A | undefined

const curl = (endpoint: Endpoint, key: string, question: string): string =>
  `curl ${endpoint.url}/chat/completions -H 'Authorization: Bearer ${key}' -H 'Content-Type: application/json' -d '${JSON.stringify({ model: endpoint.model, messages: [{ role: "user", content: question }] }).replaceAll("'", "'\\''")}'`

/** The question of the run's own probe, so that the printed curl line asks something the model was trained on. */
const questionOf = (run: Run): string | undefined => (run.plan.steps.find((s) => s.kind === "serve")?.options as { readonly probe?: string } | undefined)?.probe

export const summarize = async (api: Api, run: Run): Promise<Summary> => {
  const endpoint = outputOf<Endpoint>(run, "serve")
  const packaged = outputOf<Packaged>(run, "package")
  const exported = outputOf<Exported>(run, "checkpoint")
  const trained = outputOf<Trained>(run, "train")
  const settlement = outputOf<Settlement>(run, "reward")
  const key = endpoint === undefined ? undefined : (await api.post<{ readonly key: string }>(`/api/v1/endpoints/${endpoint.id}/key`)).key
  const { events } = await api.get<{ readonly events: ReadonlyArray<StoredEvent> }>(`/api/v1/runs/${run.id}/events`)
  const serving = run.steps.find((s) => s.kind === "serve")?.id
  const answers = events.flatMap(({ event }) => (event._tag === "StepLog" && event.step === serving && /^(asked|base model|fine-tuned)\b/.test(event.message) ? [event.message] : []))
  const question = questionOf(run)
  return {
    runId: run.id,
    state: run.state,
    cached: run.steps.filter((s) => s.state === "cached").map((s) => s.id),
    failed: run.steps.flatMap((s) => (s.state === "failed" && s.error !== undefined ? [{ step: s.id, message: s.error.message, ...(s.error.remedy === undefined ? {} : { remedy: s.error.remedy }) }] : [])),
    ...(endpoint === undefined || key === undefined ? {} : { endpoint: { id: endpoint.id, url: endpoint.url, model: endpoint.model, key, curl: curl(endpoint, key, question ?? "Hello") } }),
    ...(question === undefined ? {} : { question }),
    answers,
    ...(packaged === undefined
      ? {}
      : {
          package: {
            name: packaged.name,
            digest: packaged.digest,
            size: packaged.size,
            layout: packaged.layout,
            form: exported?.form ?? "full",
            ...(packaged.pushed !== undefined && { pushed: `${packaged.pushed.reference.split("@")[0]}:${packaged.pushed.tag}` }),
            ...(packaged.image !== undefined && { image: packaged.image })
          }
        }),
    ...(trained === undefined
      ? {}
      : { training: { method: trained.method, firstLoss: trained.firstLoss, lastLoss: trained.lastLoss, tokens: trained.tokens, worldSize: trained.worldSize, deviceClass: trained.deviceClass, sandbox: trained.sandbox, trustTier: trained.trustTier } }),
    cost: await api.get<Summary["cost"]>(`/api/v1/runs/${run.id}/cost`),
    rewards: (settlement?.accruals ?? []).map(({ node, reason, units }) => ({ node, units, reason })),
    ...(settlement === undefined ? {} : { returnedUnits: settlement.returnedUnits, unlocksAt: settlement.unlocksAt })
  }
}

export const summaryLines = (summary: Summary): Array<string> => {
  const line = (name: string, text: string) => `  ${name.padEnd(10)} ${text}`
  const { cost, endpoint, package: packaged, training } = summary
  return [
    "",
    ...(summary.cached.length === 0 ? [] : [line("cache", `${summary.cached.join(", ")}: served from the step cache, not run again`)]),
    ...summary.failed.flatMap(({ message, remedy, step }) => [line("failed", `${step}: ${message}`), ...(remedy === undefined ? [] : [line("", remedy)])]),
    ...(endpoint === undefined ? [] : [line("endpoint", `${endpoint.url}  model ${endpoint.model}`), line("key", endpoint.key), line("try it", endpoint.curl)]),
    ...(summary.answers.length === 0 || summary.question === undefined ? [] : [line("asked", summary.question)]),
    ...summary.answers.map((answer) => line("", answer)),
    ...(training === undefined
      ? []
      : [
          line("training", `${training.method}, loss ${training.firstLoss.toFixed(3)} → ${training.lastLoss.toFixed(3)}, ${training.tokens.toLocaleString("en-US")} tokens, ${training.worldSize} ${training.worldSize === 1 ? "worker" : "workers"} on ${training.deviceClass}`),
          line("trust", `${training.trustTier} (sandbox: ${training.sandbox}); without a TEE, a node can read the batches it trains on`)
        ]),
    ...(packaged === undefined ? [] : [line("package", `${packaged.digest}  ${packaged.form}, ${bytes(packaged.size)}, OCI layout ${packaged.layout} in the home`)]),
    ...(packaged?.pushed === undefined ? [] : [line("pushed", packaged.pushed)]),
    ...(packaged?.image === undefined ? [] : [line("image", `${packaged.image.reference}  ${packaged.image.id.slice(0, 19)}, ${bytes(packaged.image.size)}`)]),
    line("cost", `${dollars(cost.dollars)}: ${cost.deviceSeconds.toFixed(1)} device seconds at ${cost.pricePerSecond.toFixed(6)} dollars`),
    ...summary.rewards.map(({ node, reason, units }, index) => line(index === 0 ? "accrued" : "", `${hyper(units)} HYPER to ${node.slice(0, 12)}…: ${reason}`)),
    ...(summary.returnedUnits === undefined || summary.returnedUnits === "0" ? [] : [line("returned", `${hyper(summary.returnedUnits)} HYPER to you: no measured work claimed it`)]),
    ...(summary.unlocksAt === undefined || summary.rewards.length === 0 ? [] : [line("", `locked until ${new Date(summary.unlocksAt).toLocaleString()}; hyper rewards explain ${summary.runId}`)]),
    ""
  ]
}
