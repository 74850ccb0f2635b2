/** All eight stages; `swap` names those that another plugin of the same kind takes over. For the test that "swappable" is a fact. */
import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { hfHub } from "@hypernode/plugins/hf-hub"
import { ledger } from "@hypernode/plugins/ledger"
import { local } from "@hypernode/plugins/local"
import { oci } from "@hypernode/plugins/oci"
import { ociImage } from "@hypernode/plugins/oci-image"
import { ollama } from "@hypernode/plugins/ollama"
import { safetensors } from "@hypernode/plugins/safetensors"
import { solana } from "@hypernode/plugins/solana"
import { torchrun } from "@hypernode/plugins/torchrun"
import { transformers } from "@hypernode/plugins/transformers"
import { roundRobin } from "../custom-plugin/roundRobin.ts"
import { ageCommand } from "./ageCommand.ts"
import { newest } from "./newest.ts"
import { thrifty } from "./thrifty.ts"

const dataset = "../../fixtures/data/tickets.jsonl"

export default pipeline("swap", (p) => {
  const swapped = p.param("swap", "").split(",")
  const hub = p.param("hub", "https://huggingface.co")
  const base = p.param("base", "python:3.12-slim")
  const host = p.param("ollama", "http://127.0.0.1:11434")
  const other = (kind: string): boolean => swapped.includes(kind)
  const { dataset: rows, model } = other("select")
    ? p.select(hfHub({ model: "hyper/tiny-llama", dataset, endpoint: hub }))
    : p.select(local({ model: "../../fixtures/models/tiny-llama", dataset }))
  const sealed = other("encrypt") ? p.encrypt(ageCommand({ rows: 20 }), { dataset: rows, model }) : p.encrypt(age(), { dataset: rows, model })
  const shards = other("shard") ? p.shard(roundRobin({ parts: 1 }), { sealed, model }) : p.shard(balanced({ parts: 1 }), { sealed, model })
  const trained = other("train")
    ? p.train(thrifty({ steps: 2 }), { model, shards })
    : p.train(torchrun({ method: "full", maxSteps: 2, lr: 1e-3, batchSize: 8, checkpointEvery: 2, seed: 7, sandbox: "auto" }), { model, shards })
  const checkpoint = other("checkpoint") ? p.checkpoint(newest(), { trained }) : p.checkpoint(safetensors(), { trained })
  const packaged = other("package") ? p.package(ociImage({ base, install: false }), { checkpoint }) : p.package(oci(), { checkpoint })
  const endpoint = other("serve") ? p.serve(ollama({ host }), { packaged }) : p.serve(transformers(), { packaged })
  if (other("reward")) p.reward(solana({ pool: "1 HYPER" }), { trained, endpoint })
  else p.reward(ledger({ pool: "1 HYPER" }), { trained, endpoint })
})
