/**
 * A fine-tuned model for Ollama: trained here, created in the Ollama of this machine (`ollama run support` has it too), and behind the
 * gateway. Beside it, for comparison, a model of Ollama's own as it is: such a model is GGUF, which can be served and not trained.
 */
import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { local } from "@hypernode/plugins/local"
import { oci } from "@hypernode/plugins/oci"
import { ollama, ollamaModel } from "@hypernode/plugins/ollama"
import { safetensors } from "@hypernode/plugins/safetensors"
import { torchrun } from "@hypernode/plugins/torchrun"

export default pipeline("ollama", (p) => {
  const { model, dataset } = p.select(local({ model: "../fixtures/models/tiny-llama", dataset: "../fixtures/data/tickets.jsonl" }))
  const sealed = p.encrypt(age(), { dataset, model })
  const shards = p.shard(balanced({ parts: 1 }), { sealed, model })
  const trained = p.train(torchrun({ method: "lora", epochs: 8, lr: 1e-2, sequenceLength: 128, sandbox: "auto" }), { model, shards })
  const checkpoint = p.checkpoint(safetensors(), { trained })
  const packaged = p.package(oci(), { checkpoint })
  p.serve(ollama({ name: "support", quantize: "q8_0" }), { packaged }, { id: "serve-tuned" })

  const { model: other } = p.select(ollamaModel({ model: "smollm2:135m" }), {}, { id: "select-other" })
  p.serve(ollama({ name: "other" }), { model: other }, { id: "serve-other" })
})
