/**
 * A support bot from a public model and your own tickets (JSONL: one {"messages": [...]} a line). Put `tickets.jsonl` beside this file;
 * a gated model needs a token: `hyper keys` keeps secrets by name, the plan holds the name only.
 */
import { pipeline, secret } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { hfHub } from "@hypernode/plugins/hf-hub"
import { ledger } from "@hypernode/plugins/ledger"
import { oci } from "@hypernode/plugins/oci"
import { safetensors } from "@hypernode/plugins/safetensors"
import { torchrun } from "@hypernode/plugins/torchrun"
import { transformers } from "@hypernode/plugins/transformers"

export default pipeline("support-bot", (p) => {
  const lr = p.param("lr", 2e-4)
  const { model, dataset } = p.select(hfHub({ model: "HuggingFaceTB/SmolLM2-135M-Instruct", dataset: "./tickets.jsonl", token: secret("HF_TOKEN") }))
  const sealed = p.encrypt(age(), { dataset })
  const shards = p.shard(balanced({ parts: 2 }), { sealed, model })
  const trained = p.train(torchrun({ method: "lora", epochs: 2, lr, sandbox: "auto" }), { model, shards })
  const best = p.checkpoint(safetensors(), { trained })
  const packaged = p.package(oci(), { checkpoint: best })
  const endpoint = p.serve(transformers(), { packaged })
  p.reward(ledger({ pool: "100 HYPER" }), { trained, endpoint })
})
