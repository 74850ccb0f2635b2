/** Up to a training that must be confined: for tests on a machine that cannot. */
import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { local } from "@hypernode/plugins/local"
import { torchrun } from "@hypernode/plugins/torchrun"

export default pipeline("confined", (p) => {
  const { dataset, model } = p.select(local({ model: "../../../../fixtures/models/tiny-llama", dataset: "../../../../fixtures/data/tickets.jsonl" }))
  const shards = p.shard(balanced({ parts: 1 }), { sealed: p.encrypt(age(), { dataset, model }), model })
  p.train(torchrun({ method: "full", maxSteps: 1, sandbox: "required" }), { model, shards })
})
