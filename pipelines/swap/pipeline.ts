/** All eight stages; `swap` names those that another plugin of the same kind takes over. For the test that "swappable" is a fact. */
import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { hfHub } from "@hypernode/plugins/hf-hub"
import { ledger } from "@hypernode/plugins/ledger"
import { local } from "@hypernode/plugins/local"
import { oci } from "@hypernode/plugins/oci"
import { safetensors } from "@hypernode/plugins/safetensors"
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
  const packaged = p.package(oci(), { checkpoint })
  const endpoint = p.serve(transformers(), { packaged })
  p.reward(ledger({ pool: "1 HYPER" }), { trained, endpoint })
})
