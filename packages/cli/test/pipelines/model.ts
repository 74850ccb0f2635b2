/** Selects a model that a test has made, and seals data for it: for tests of models that lack something. */
import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { local } from "@hypernode/plugins/local"

export default pipeline("model", (p) => {
  const { dataset, model } = p.select(local({ model: p.param("model", "../../../../fixtures/models/tiny-llama"), dataset: "../../../../fixtures/data/tickets.jsonl" }))
  p.encrypt(age({ segmentBytes: p.param("segmentBytes", 4_194_304) }), { dataset, model })
})
