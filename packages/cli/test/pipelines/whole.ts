/** All eight stages, small and quick: for tests that kill things under it. */
import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { ledger } from "@hypernode/plugins/ledger"
import { local } from "@hypernode/plugins/local"
import { oci } from "@hypernode/plugins/oci"
import { safetensors } from "@hypernode/plugins/safetensors"
import { torchrun } from "@hypernode/plugins/torchrun"
import { transformers } from "@hypernode/plugins/transformers"

export default pipeline("whole", (p) => {
  const dataset = p.param("dataset", "../../../../fixtures/data/tickets.jsonl")
  const maxSteps = p.param("maxSteps", 60)
  const chosen = p.select(local({ model: "../../../../fixtures/models/tiny-llama", dataset }))
  const sealed = p.encrypt(age(), { dataset: chosen.dataset, model: chosen.model })
  const shards = p.shard(balanced({ parts: 2 }), { sealed, model: chosen.model })
  const trained = p.train(
    torchrun({ method: "full", maxSteps, epochs: 100, lr: 1e-3, batchSize: 8, checkpointEvery: 10, seed: 7, sandbox: "auto" }),
    { model: chosen.model, shards }
  )
  const best = p.checkpoint(safetensors(), { trained })
  const packaged = p.package(oci(), { checkpoint: best })
  const endpoint = p.serve(transformers({ probe: p.param("probe", "What are your opening hours?") }), { packaged })
  p.reward(ledger({ pool: "100 HYPER" }), { trained, endpoint })
})
