/**
 * A base model from a registry, and the tuned one back into it. REGISTRY holds `user:password`: the plan has its name only. Blobs that the
 * registry has are not sent again; those that the tuned model shares with its base are mounted there.
 */
import { pipeline, secret } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { local } from "@hypernode/plugins/local"
import { oci, ociModel } from "@hypernode/plugins/oci"
import { safetensors } from "@hypernode/plugins/safetensors"
import { torchrun } from "@hypernode/plugins/torchrun"

export default pipeline("registry", (p) => {
  const credentials = secret("REGISTRY")
  const { model } = p.select(ociModel({ model: "registry.example.com/models/tiny:1.0", credentials }), {}, { id: "base" })
  const { dataset } = p.select(local({ dataset: "../fixtures/data/tickets.jsonl" }), {}, { id: "tickets" })
  const sealed = p.encrypt(age(), { dataset, model })
  const shards = p.shard(balanced({ parts: 2 }), { sealed, model })
  const trained = p.train(torchrun({ method: "lora", epochs: 8, lr: 1e-2, batchSize: 8, sequenceLength: 128, sandbox: "auto" }), { model, shards })
  const checkpoint = p.checkpoint(safetensors({ choose: "best" }), { trained })
  p.package(oci({ tag: "tuned", push: { to: "registry.example.com/team/support", credentials } }), { checkpoint })
})
