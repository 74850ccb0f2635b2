/**
 * Fan-out: the same sealed data trains several variants, each packaged under its own name. Plain loops make plain steps; the ids say
 * which is which, and what the variants share is done once.
 */
import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { local } from "@hypernode/plugins/local"
import { oci } from "@hypernode/plugins/oci"
import { safetensors } from "@hypernode/plugins/safetensors"
import { torchrun } from "@hypernode/plugins/torchrun"

export default pipeline("sweep", (p) => {
  const epochs = p.param("epochs", 4)
  const { model, dataset } = p.select(local({ model: "../fixtures/models/tiny-llama", dataset: "../fixtures/data/tickets.jsonl" }))
  const shards = p.shard(balanced({ parts: 2 }), { sealed: p.encrypt(age(), { dataset, model }), model })
  for (const rank of [8, 32]) {
    for (const lr of [5e-3, 1e-2]) {
      const variant = `r${rank}-lr${lr}`
      const trained = p.train(
        torchrun({ method: "lora", epochs, lr, sequenceLength: 128, lora: { rank, alpha: 2 * rank }, evalFraction: 0.1, sandbox: "auto" }),
        { model, shards },
        { id: `train-${variant}` }
      )
      const checkpoint = p.checkpoint(safetensors({ choose: "best" }), { trained }, { id: `checkpoint-${variant}` })
      p.package(oci({ name: `sweep-${variant.replaceAll(".", "-")}` }), { checkpoint }, { id: `package-${variant}` })
    }
  }
})
