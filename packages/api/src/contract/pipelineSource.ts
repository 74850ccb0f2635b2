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
  const image = form.packaging === "image"
  const [pack, serve] = image ? ["ociImage", "container"] : ["oci", "transformers"]
  const plugins = [
    ["age", "age"],
    ["balanced", "balanced"],
    ...(image ? [["container", "container"]] : []),
    hub ? ["hfHub", "hf-hub"] : ["local", "local"],
    ["ledger", "ledger"],
    image ? ["ociImage", "oci-image"] : ["oci", "oci"],
    ["safetensors", "safetensors"],
    ["torchrun", "torchrun"],
    ...(image ? [] : [["transformers", "transformers"]])
  ]
  const imports = plugins.map(([factory, folder]) => `import { ${factory} } from "@hypernode/plugins/${folder}"`).join("\n")
  return `import { pipeline } from "@hypernode/engine"
${imports}

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
  const packaged = p.package(${pack}(), { checkpoint: best })
  const endpoint = p.serve(${serve}(), { packaged })
  p.reward(ledger({ pool: ${text(`${form.pool} HYPER`)} }), { trained, endpoint })
})
`
}
