/**
 * The whole way on one machine: a tiny model and a private data set become a live endpoint and a settled ledger. No account, no
 * server, no Docker, no GPU. `npx hyper run pipelines/quickstart.ts`
 */
import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { ledger } from "@hypernode/plugins/ledger"
import { local } from "@hypernode/plugins/local"
import { oci } from "@hypernode/plugins/oci"
import { safetensors } from "@hypernode/plugins/safetensors"
import { torchrun } from "@hypernode/plugins/torchrun"
import { transformers } from "@hypernode/plugins/transformers"

export default pipeline("quickstart", (p) => {
  const epochs = p.param("epochs", 8)
  const lr = p.param("lr", 1e-2)

  const { model, dataset } = p.select(local({ model: "../fixtures/models/tiny-llama", dataset: "../fixtures/data/tickets.jsonl" }))
  const sealed = p.encrypt(age(), { dataset, model })
  const shards = p.shard(balanced({ parts: 2 }), { sealed, model })
  const trained = p.train(
    torchrun({ method: "lora", epochs, lr, batchSize: 8, sequenceLength: 128, warmupSteps: 10, schedule: "cosine", lora: { rank: 16, alpha: 32, dropout: 0.05 }, evalFraction: 0.05, checkpointEvery: 60, sandbox: "auto" }),
    { model, shards }
  )
  const checkpoint = p.checkpoint(safetensors({ choose: "best" }), { trained })
  const packaged = p.package(oci(), { checkpoint })
  const endpoint = p.serve(transformers({ probe: "What are your opening hours?" }), { packaged })
  p.reward(ledger({ pool: "100 HYPER" }), { trained, endpoint })
})
