/** A pipeline whose `shard` stage is a plugin of its own: `hyper plan pipelines/custom-plugin/pipeline.ts`. */
import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { local } from "@hypernode/plugins/local"
import { roundRobin } from "./roundRobin.ts"

export default pipeline("custom-plugin", (p) => {
  const { model, dataset } = p.select(local({ model: "../../fixtures/models/tiny-llama", dataset: "../../fixtures/data/tickets.jsonl" }))
  const sealed = p.encrypt(age(), { dataset, model })
  p.shard(roundRobin({ parts: p.param("parts", 2) }), { sealed, model })
})
