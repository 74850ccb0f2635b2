/** `hyper keys`, as its owner uses it: what the keyring holds, a secret taken in unseen, a key destroyed and what then is closed. */
import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import type { Run } from "@hypernode/engine/run/Run"
import { afterEach, beforeEach, expect, it } from "vitest"
import type { KeyView } from "../src/daemon/keyRoutes.ts"
import { Hyper, repository } from "./Hyper.ts"

const sealed = join(repository, "packages/cli/test/pipelines/sealed.ts")

let hyper: Hyper
beforeEach(() => { hyper = new Hyper() })
afterEach(async () => { expect(await hyper.close()).toEqual([]) })

const list = async (): Promise<ReadonlyArray<KeyView>> => JSON.parse((await hyper.run("keys", "--json")).stdout) as ReadonlyArray<KeyView>
const states = async () => (JSON.parse((await hyper.run("status", "latest", "--json")).stdout) as Run).steps.map((step) => step.state)
const filesBelow = (directory: string): ReadonlyArray<string> => readdirSync(directory, { recursive: true, encoding: "utf8" }).map((name) => join(directory, name)).filter((path) => statSync(path).isFile())

it("lists what there is, and destroys the key of a data set: then it is sealed anew", async () => {
  expect((await hyper.run("run", sealed)).code).toBe(0)
  const before = await list()
  const key = before.find((one) => one.kind === "data set") as KeyView
  expect(key.runs).toHaveLength(1)
  expect(before.find((one) => one.kind === "node")?.publicKey).toMatch(/^[A-Za-z0-9+/]{43}=$/)
  expect((await hyper.run("keys")).stdout).toMatch(/data set\s+dataset\/[0-9a-f]+\s+opens what run [0-9a-f]{8} sealed/)

  const unasked = await hyper.run("keys", "destroy", key.name)
  expect(unasked.code).toBe(2)
  expect(unasked.stderr).toMatch(/for good[^]*\(1 run\)[^]*--yes/)
  expect(await list()).toEqual(before)
  for (const kept of ["node", "lease"]) expect((await hyper.run("keys", "destroy", kept, "--yes")).code).toBeGreaterThan(3)

  expect((await hyper.run("run", sealed)).code).toBe(0)
  expect(await states()).toEqual(["cached", "cached", "cached"])
  expect((await hyper.run("keys", "destroy", key.name.slice("dataset/".length, 20), "--yes")).code).toBe(0)
  expect((await list()).filter((one) => one.kind === "data set")).toEqual([])
  const anew = await hyper.run("run", sealed)
  expect(anew.code).toBe(0)
  expect(anew.stdout).toMatch(/was destroyed, so what it sealed is sealed anew/)
  expect(await states()).toEqual(["cached", "done", "done"])
  expect((await hyper.run("keys", "destroy", "dataset/0000", "--yes")).code).toBe(5)
})

it("takes a secret in from standard input; its value is in no argv and no other file", async () => {
  const value = "canary-5b1e-hush"
  const set = (name: string, input: string) => spawnSync(process.execPath, [join(repository, "packages/cli/bin/hyper.js"), "keys", "set", name], { cwd: repository, env: hyper.env, input, encoding: "utf8" })
  expect(set("MY_TOKEN", `${value}\n`)).toMatchObject({ status: 0, stdout: expect.stringContaining('secret("MY_TOKEN")') as string })
  const holding = filesBelow(hyper.home).filter((path) => readFileSync(path).includes(value))
  expect(holding).toEqual([join(hyper.root, "keys", "secret%2Fdefault%2FMY_TOKEN")])
  expect(readFileSync(holding[0] as string, "utf8")).toBe(value)
  expect((await hyper.run("keys")).stdout).not.toContain(value)
  expect(set("not a name", "x").status).toBe(2)
  expect(set("EMPTY", "").status).toBe(2)
  expect((await hyper.run("keys", "destroy", "MY_TOKEN", "--yes")).code).toBe(0)
  expect(filesBelow(hyper.home).filter((path) => readFileSync(path).includes(value))).toEqual([])
})
