/**
 * The pipeline file that a New job form stands for. Pure and without imports at run time, so that the page can show the very text
 * that the server plans.
 */
import type { DeployForm } from "./DeployForm.ts"

/** A path starts with `.`, `/` or `~`; anything else of the form `org/name` is a repository of the hub. */
export const isHubModel = (model: string): boolean => /^[A-Za-z0-9][\w.-]*\/[\w.-]+(?:@[\w.-]+)?$/.test(model)

const text = (value: string): string => JSON.stringify(value)

/** `2e-4` stays `2e-4`, as a person writes it. */
const number = (value: number): string => (value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential().replace("e-0", "e-") : String(value))

export const pipelineSource = (form: DeployForm): string => {
  const hub = isHubModel(form.model)
  const [repository, revision] = hub ? (form.model.split("@") as [string, string | undefined]) : [form.model, undefined]
  const select = hub ? "hfHub" : "local"
  return `import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
${hub ? `import { hfHub } from "@hypernode/plugins/hf-hub"` : `import { local } from "@hypernode/plugins/local"`}
import { ledger } from "@hypernode/plugins/ledger"
import { oci } from "@hypernode/plugins/oci"
import { safetensors } from "@hypernode/plugins/safetensors"
import { torchrun } from "@hypernode/plugins/torchrun"
import { transformers } from "@hypernode/plugins/transformers"

export default pipeline(${text(form.name)}, (p) => {
  const { model, dataset } = p.select(${select}({
    model: ${text(repository)},${revision === undefined ? "" : `\n    revision: ${text(revision)},`}
    dataset: ${text(form.dataset)}
  }))
  const sealed = p.encrypt(age(), { dataset, model })
  const shards = p.shard(balanced({ parts: ${form.workers} }), { sealed, model })
  const trained = p.train(torchrun({
    method: ${text(form.method)}, epochs: ${number(form.epochs)}, lr: ${number(form.learningRate)}, sandbox: ${text(form.sandbox)}
  }), { model, shards })
  const best = p.checkpoint(safetensors(), { trained })
  const packaged = p.package(oci(), { checkpoint: best })
  const endpoint = p.serve(transformers(), { packaged })
  p.reward(ledger({ pool: ${text(`${form.pool} HYPER`)} }), { trained, endpoint })
})
`
}
