/** What `/api/deploy_model` makes where a container engine is present, on a base image that is there already and with little training. */
import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { container } from "@hypernode/plugins/container"
import { ledger } from "@hypernode/plugins/ledger"
import { local } from "@hypernode/plugins/local"
import { ociImage } from "@hypernode/plugins/oci-image"
import { safetensors } from "@hypernode/plugins/safetensors"
import { torchrun } from "@hypernode/plugins/torchrun"

export default pipeline("boxed", (p) => {
  const base = p.param("base", "python:3.12-slim")
  // directories, separated by ":"
  const mounts = p.param("mounts", "/usr")
  const { model, dataset } = p.select(local({ model: "../../../../fixtures/models/tiny-llama", dataset: "../../../../fixtures/data/tickets.jsonl" }))
  const sealed = p.encrypt(age(), { dataset, model })
  const shards = p.shard(balanced({ parts: 1 }), { sealed, model })
  const trained = p.train(torchrun({ method: "lora", maxSteps: 30, epochs: 30, lr: 4e-3, batchSize: 8, sequenceLength: 128, sandbox: "required" }), { model, shards })
  const best = p.checkpoint(safetensors(), { trained })
  const packaged = p.package(ociImage({ base, install: false }), { checkpoint: best })
  const endpoint = p.serve(container({ mounts: mounts.split(":") }), { packaged })
  p.reward(ledger({ pool: "10 HYPER" }), { trained, endpoint })
})
