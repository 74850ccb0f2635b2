/** `hyper init`: a pipeline file that plans, and a data file in the form that training takes. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { basename, join, relative, resolve } from "node:path"
import { CliError, ExitCode } from "../ExitCode.ts"

const pipelineText = (name: string): string => `import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { hfHub } from "@hypernode/plugins/hf-hub"
import { ledger } from "@hypernode/plugins/ledger"
import { oci } from "@hypernode/plugins/oci"
import { safetensors } from "@hypernode/plugins/safetensors"
import { torchrun } from "@hypernode/plugins/torchrun"
import { transformers } from "@hypernode/plugins/transformers"

export default pipeline("${name}", (p) => {
  const lr = p.param("lr", 2e-4)
  const { model, dataset } = p.select(hfHub({ model: "HuggingFaceTB/SmolLM2-135M-Instruct", dataset: "./data.jsonl" }))
  const sealed = p.encrypt(age(), { dataset, model })
  const shards = p.shard(balanced({ parts: 1 }), { sealed, model })
  const trained = p.train(torchrun({ method: "lora", epochs: 2, lr, sandbox: "auto" }), { model, shards })
  const best = p.checkpoint(safetensors(), { trained })
  const packaged = p.package(oci(), { checkpoint: best })
  const endpoint = p.serve(transformers(), { packaged })
  p.reward(ledger({ pool: "100 HYPER" }), { trained, endpoint })
})
`

const dataText = `${JSON.stringify({ messages: [{ role: "user", content: "What are your opening hours?" }, { role: "assistant", content: "We are open from 9 to 17, Monday to Friday." }] })}
${JSON.stringify({ messages: [{ role: "user", content: "How do I return an item?" }, { role: "assistant", content: "Send it back within 30 days; the label is in the box." }] })}
`

export const init = async (directory: string | undefined, options: { readonly force?: boolean }): Promise<ExitCode> => {
  const target = resolve(directory ?? ".")
  const file = join(target, "pipeline.ts")
  if (existsSync(file) && options.force !== true) throw new CliError(ExitCode.refused, `${relative(process.cwd(), file)} exists`, { remedy: "hyper init --force overwrites it; hyper init DIRECTORY writes elsewhere" })
  const name = basename(target).toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-").replaceAll(/^-+|-+$/g, "") || "my-model"
  mkdirSync(target, { recursive: true })
  writeFileSync(file, pipelineText(name))
  if (!existsSync(join(target, "data.jsonl"))) writeFileSync(join(target, "data.jsonl"), dataText, { mode: 0o600 })
  const where = relative(process.cwd(), file) || file
  process.stdout.write(`Wrote ${where} and data.jsonl (two example rows: put your own there).\nNext: hyper plan ${where}\n`)
  return ExitCode.ok
}
