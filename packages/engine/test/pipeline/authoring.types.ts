/** Type tests, checked by tsc: every line under `@ts-expect-error` must not compile. */
import { pipeline, secret, use, type Use, type Wire } from "../../src/index.ts"
import type { Ports } from "../../src/pipeline/ports.ts"
import type { Kinds } from "../../src/stage/kinds.ts"

// The names in ports.ts are those of kinds.ts.
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false
type Required<T> = { [K in keyof T as {} extends Pick<T, K> ? never : K]: true }
type PortRequired<K extends keyof Ports> = { [N in keyof Ports[K]["inputs"] as Ports[K]["inputs"][N] extends "required" ? N : never]: true }
type Checks = { [K in keyof Kinds]: [Same<keyof Kinds[K]["input"], keyof Ports[K]["inputs"]>, Same<keyof Required<Kinds[K]["input"]>, keyof PortRequired<K>>] }
const agree: { [K in keyof Kinds]: [true, true] } = null as unknown as Checks
void agree
const selectAgrees: Same<keyof Kinds["select"]["output"], keyof Ports["select"]["output"]> = true
void selectAgrees

const local = (options: { readonly model: string; readonly dataset: string; readonly token?: { readonly $secret: string } }): Use<"select", typeof options> => use("select", { id: "local", specifier: "x" }, options)
const age = (): Use<"encrypt", {}> => use("encrypt", { id: "age", specifier: "x" }, {})
const balanced = (options: { readonly parts: number }): Use<"shard", typeof options> => use("shard", { id: "balanced", specifier: "x" }, options)
const torchrun = (options: { readonly method?: "lora" | "full"; readonly lr?: number; readonly lora?: { readonly rank?: number } }): Use<"train", typeof options> => use("train", { id: "torchrun", specifier: "x" }, options)
const safetensors = (): Use<"checkpoint", {}> => use("checkpoint", { id: "safetensors", specifier: "x" }, {})
const oci = (): Use<"package", {}> => use("package", { id: "oci", specifier: "x" }, {})
const transformers = (): Use<"serve", {}> => use("serve", { id: "transformers", specifier: "x" }, {})
const ledger = (options: { readonly pool: string }): Use<"reward", typeof options> => use("reward", { id: "ledger", specifier: "x" }, options)

export default pipeline("types", (p) => {
  const lr: number = p.param("lr", 2e-4)
  const name: string = p.param("name", "x")
  const flag: boolean = p.param("flag", true)
  void [name, flag]
  // @ts-expect-error a parameter has the type of its default
  const wrong: string = p.param("wrong", 1)
  void wrong
  // @ts-expect-error a default must be JSON
  p.param("function", () => 1)

  const { model, dataset } = p.select(local({ model: "m", dataset: "d", token: secret("HF_TOKEN") }))
  const sealed: Wire<"sealed"> = p.encrypt(age(), { dataset }, { id: "seal" })
  p.encrypt(age(), { dataset, model })
  const shards = p.shard(balanced({ parts: 2 }), { sealed, model })
  const trained = p.train(torchrun({ lr, lora: { rank: 8 } }), { model, shards })
  const best = p.checkpoint(safetensors(), { trained })
  const packaged = p.package(oci(), { checkpoint: best })
  const endpoint = p.serve(transformers(), { packaged })
  p.reward(ledger({ pool: "100 HYPER" }), { trained, endpoint })
  p.reward(ledger({ pool: "100 HYPER" }), { trained })
  p.serve(transformers(), { model })

  // @ts-expect-error one of them, not both
  p.serve(transformers(), { packaged, model })
  // @ts-expect-error and not none
  p.serve(transformers(), {})
  // @ts-expect-error a wrong wire: sealed is not shards
  p.train(torchrun({}), { model, shards: sealed })
  // @ts-expect-error a wrong wire: the data set is not a model
  p.encrypt(age(), { dataset, model: dataset })
  // @ts-expect-error a missing input
  p.train(torchrun({}), { model })
  // @ts-expect-error no inputs at all
  p.encrypt(age())
  // @ts-expect-error an input that the kind does not have
  p.encrypt(age(), { dataset, shards })
  // @ts-expect-error a wrong option
  p.train(torchrun({ lora: { rank: "8" } }), { model, shards })
  // @ts-expect-error an unknown option
  p.train(torchrun({ epoch: 2 }), { model, shards })
  // @ts-expect-error a missing option
  p.shard(balanced({}), { sealed, model })
  // @ts-expect-error a plugin of another kind
  p.train(age(), { model, shards })
  // @ts-expect-error the factory itself, not called
  p.encrypt(age, { dataset })
  // @ts-expect-error select takes no inputs
  p.select(local({ model: "m", dataset: "d" }), { dataset })
  // @ts-expect-error select gives a model and a data set, nothing else
  void p.select(local({ model: "m", dataset: "d" })).shards
  // @ts-expect-error no such stage
  p.evaluate(age(), { dataset })
  // @ts-expect-error a step option that does not exist
  p.encrypt(age(), { dataset }, { name: "seal" })
})

// @ts-expect-error the body may not be async
pipeline("async", async () => {})
