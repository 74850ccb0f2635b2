/** The quick half of a deployment: for tests of the command line itself. */
import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { local } from "@hypernode/plugins/local"

export default pipeline("sealed", (p) => {
  const dataset = p.param("dataset", "../../../../fixtures/data/tickets.jsonl")
  const chosen = p.select(local({ model: "../../../../fixtures/models/tiny-llama", dataset }))
  const sealed = p.encrypt(age(), { dataset: chosen.dataset })
  p.shard(balanced({ parts: 2 }), { sealed })
})
