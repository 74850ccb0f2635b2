/**
 * For a machine with a GPU and vLLM (HYPER_VLLM, or `vllm` on the PATH): the adapter is not merged, vLLM serves it beside its base. On a
 * machine without a GPU `hyper plan` says so, and what to do.
 */
import { pipeline, secret } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { hfHub } from "@hypernode/plugins/hf-hub"
import { oci } from "@hypernode/plugins/oci"
import { safetensors } from "@hypernode/plugins/safetensors"
import { torchrun } from "@hypernode/plugins/torchrun"
import { vllm } from "@hypernode/plugins/vllm"

export default pipeline("vllm", (p) => {
  const { model, dataset } = p.select(hfHub({ model: "HuggingFaceTB/SmolLM2-135M-Instruct", dataset: "./tickets.jsonl", token: secret("HF_TOKEN") }))
  const sealed = p.encrypt(age(), { dataset })
  const shards = p.shard(balanced({ parts: 1 }), { sealed, model })
  const trained = p.train(torchrun({ method: "lora", epochs: 2, sandbox: "auto" }), { model, shards })
  const checkpoint = p.checkpoint(safetensors({ merge: false }), { trained })
  const packaged = p.package(oci(), { checkpoint })
  p.serve(vllm({ maxModelLen: 2048, gpuMemoryUtilization: 0.6 }), { packaged })
})
