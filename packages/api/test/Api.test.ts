import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { settledForm } from "../src/contract/DeployForm.ts"
import { isHubModel, pipelineSource } from "../src/contract/pipelineSource.ts"
import { machine, planOf, someForm } from "./TestEngine.ts"
import { startServer, type TestServer } from "./server.ts"

let server: TestServer
beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.close())

describe("the four named endpoints", () => {
  it("deploy a model, report its status, list models and show the dashboard", async () => {
    const me = await server.as("acme")
    server.engine.setCatalogue({ models: [{ model: "./models/tiny", name: "tiny", source: "local", parameters: 1_200_000 }], datasets: [] })
    const started = await me("POST", "/api/deploy_model", { name: "support-bot", model: "./models/tiny", dataset: "./tickets.jsonl", epochs: 1 })
    expect(started.status).toBe(200)
    const id: string = started.json.job_id
    // Defaults are filled in by the contract, and reach the engine.
    expect(server.engine.calls.at(-1)).toMatchObject({ tenant: "acme", detail: { method: "lora", epochs: 1, learningRate: 2e-4, workers: 1, pool: "100", sandbox: "required", packaging: "modelpack" } })

    const run = server.engine.runs.get(id)!
    server.engine.append(run, { _tag: "RunStarted", executor: "embedded" })
    server.engine.append(run, { _tag: "StepStarted", step: "select", attempt: 1 })
    const running = await me("GET", started.json.status_url)
    expect(running.json).toMatchObject({ job_id: id, status: "running", stage: "select", pipeline: "support-bot" })
    expect(running.json.stages).toHaveLength(8)

    server.engine.append(run, { _tag: "StepFailed", step: "select", attempt: 1, reason: "InvalidInput", message: "tickets.jsonl, line 7: not JSON", remedy: "correct the line", final: true })
    server.engine.append(run, { _tag: "RunEnded", outcome: "failed" })
    const failed = await me("GET", `/api/get_job_status?job_id=${id}`)
    expect(failed.json).toMatchObject({ status: "failed", stage: "select", error: { reason: "InvalidInput", message: "tickets.jsonl, line 7: not JSON", remedy: "correct the line" } })

    expect((await me("GET", "/api/list_models")).json.models[0].name).toBe("tiny")
    expect((await me("GET", "/api/user_dashboard")).json).toMatchObject({ tenant: "acme", runs: { failed: 1 }, recent: [{ id }] })
  })

  it("deploy an image where a container engine is present, and what the form says where it says", async () => {
    const me = await server.as("acme")
    const form = { name: "boxed", model: "./models/tiny", dataset: "./tickets.jsonl" }
    machine.containers = true
    try {
      expect((await me("GET", "/api/v1/me")).json).toMatchObject({ containers: true })
      await me("POST", "/api/deploy_model", form)
      expect(server.engine.calls.at(-1)).toMatchObject({ method: "deploy", detail: { name: "boxed", packaging: "image" } })
      await me("POST", "/api/deploy_model", { ...form, packaging: "modelpack" })
      expect(server.engine.calls.at(-1)).toMatchObject({ detail: { packaging: "modelpack" } })
    } finally {
      machine.containers = false
    }
  })

  it("shows the endpoint of a job that serves", async () => {
    const me = await server.as("acme")
    const run = server.engine.create("acme", planOf(someForm))
    const output = { id: "ep_1", url: "http://127.0.0.1:9/v1", model: "support-bot", keyHint: "hyp_ab", keyId: "endpoint/ep_1", packaged: `sha256:${"a".repeat(64)}` }
    server.engine.append(run, { _tag: "StepEnded", step: "serve", attempt: 1, output, cacheKey: "k" })
    expect((await me("GET", `/api/get_job_status?job_id=${run.id}`)).json.endpoint).toEqual({ id: "ep_1", url: "http://127.0.0.1:9/v1", model: "support-bot" })
  })

  it("say what is wrong with a form, field by field, without repeating what was sent", async () => {
    const me = await server.as("acme")
    const secret = "canary-7f3a"
    const answer = await me("POST", "/api/deploy_model", { name: `Bad Name ${secret}`, model: "m", dataset: "d", workers: 0 })
    expect(answer.status).toBe(400)
    expect(answer.json.error.message).toContain("name: A name has lower-case letters")
    expect(answer.text).not.toContain(secret)
    expect(answer.json.error.requestId).toMatch(/^req_/)
    const missing = await me("POST", "/api/deploy_model", { name: "a" })
    expect(missing.json.error.message).toContain("model")
    const engineSays = await me("POST", "/api/deploy_model", { ...someForm, dataset: "./missing.jsonl" })
    expect(engineSays.status).toBe(422)
    expect(engineSays.json.error).toMatchObject({ code: "dataset_missing", message: "./missing.jsonl: there is no such file" })
  })
})

describe("tenants", () => {
  it("never see each other: theirs answers exactly like nothing", async () => {
    const acme = await server.as("acme")
    const globex = await server.as("globex")
    const run = server.engine.create("acme", planOf(someForm))
    server.engine.endpoints.push({ tenant: "acme", key: "hyp_secret", id: "ep_acme", url: "http://127.0.0.1:9/v1", model: "m", keyHint: "hyp_", keyId: "k", packaged: `sha256:${"a".repeat(64)}` as never, runId: run.id, state: "healthy", lastCompletionAt: null })
    const paths: ReadonlyArray<readonly [string, string]> = [
      ["GET", "/api/v1/runs/ID"],
      ["GET", "/api/v1/runs/ID/events"],
      ["GET", "/api/v1/runs/ID/samples"],
      ["GET", "/api/v1/runs/ID/logs"],
      ["GET", "/api/v1/runs/ID/cost"],
      ["GET", "/api/v1/runs/ID/rewards"],
      ["GET", "/api/v1/runs/ID/stream"],
      ["POST", "/api/v1/runs/ID/cancel"],
      ["POST", "/api/v1/runs/ID/resume"],
      ["GET", "/api/get_job_status?job_id=ID"],
      ["POST", "/api/v1/endpoints/EP/stop"],
      ["POST", "/api/v1/endpoints/EP/key"]
    ]
    const blank = (text: string) => text.replace(/req_\w+/, "req")
    for (const [method, path] of paths) {
      const theirs = await globex(method, path.replace("ID", run.id).replace("EP", "ep_acme"))
      const nothing = await globex(method, path.replace("ID", "run_none").replace("EP", "ep_none"))
      expect([path, theirs.status]).toEqual([path, 404])
      expect(blank(theirs.text), path).toBe(blank(nothing.text))
      expect(theirs.text).not.toContain("internal detail")
    }
    const body = { messages: [{ role: "user", content: "hi" }] }
    expect((await globex("POST", "/api/v1/endpoints/ep_acme/chat", body)).status).toBe(404)
    expect((await globex("GET", "/api/v1/runs")).json.runs).toEqual([])
    expect((await globex("GET", "/api/v1/endpoints")).json.endpoints).toEqual([])
    // The same paths answer their owner, so the 404s above are about tenants.
    expect((await acme("GET", `/api/v1/runs/${run.id}`)).status).toBe(200)
    expect((await acme("POST", "/api/v1/endpoints/ep_acme/key")).json.key).toBe("hyp_secret")
    expect(server.engine.fold(run).state).toBe("queued")
  })
})

describe("runs", () => {
  it("lists, gets by prefix, cancels, pages events, samples and logs", async () => {
    const me = await server.as("acme")
    const run = server.engine.create("acme", planOf(someForm))
    server.engine.append(run, { _tag: "RunStarted", executor: "embedded" })
    server.engine.sample(run, [1, 2, 3].map((step) => ({ at: step, rank: 0, kind: "step" as const, step, loss: 3 - step / 10, stepId: "train", node: "n" })))
    server.engine.log(run, "train", 1, "first line\nsecond line\n")
    expect((await me("GET", "/api/v1/runs?limit=1")).json.runs[0]).toMatchObject({ id: run.id, state: "running", lastLoss: 2.7 })
    expect((await me("GET", `/api/v1/runs/${run.id.slice(0, 12)}`)).json.id).toBe(run.id)
    expect((await me("GET", `/api/v1/runs/${run.id}/events?after=1`)).json.events.map((e: any) => e.seq)).toEqual([2])
    expect((await me("GET", `/api/v1/runs/${run.id}/samples?after=1&limit=1`)).json.samples.map((s: any) => s.step)).toEqual([2])
    const log = (await me("GET", `/api/v1/runs/${run.id}/logs`)).json
    expect(log).toMatchObject({ text: "first line\nsecond line\n", stepId: "train" })
    expect((await me("GET", `/api/v1/runs/${run.id}/logs?offset=11`)).json.text).toBe("second line\n")
    expect((await me("GET", `/api/v1/runs/${run.id}/cost`)).json.pricePerSecond).toBe(0.000192)
    expect((await me("POST", `/api/v1/runs/${run.id}/cancel`)).status).toBe(200)
    expect((await me("GET", `/api/v1/runs/${run.id}`)).json.state).toBe("cancelling")
    expect((await me("GET", `/api/v1/runs/${run.id}/events?after=minus`)).status).toBe(400)
    expect((await me("GET", `/api/v1/runs?limit=0`)).status).toBe(400)
  })

  it("submits a plan for the owner; a plan that is none is refused", async () => {
    const owner = await startServer({ access: { mode: "owner", tenant: "acme", by: "owner" } })
    try {
      const plan = planOf(someForm)
      const answer = await owner.anonymous("POST", "/api/v1/runs", { plan, projectDirectory: "/project" })
      expect(answer.status).toBe(200)
      expect(owner.engine.runs.has(answer.json.id)).toBe(true)
      expect((await owner.anonymous("POST", "/api/v1/runs", { plan: { ...plan, version: 99 }, projectDirectory: "/" })).status).toBe(400)
    } finally {
      await owner.close()
    }
    const me = await server.as("acme")
    expect((await me("POST", "/api/v1/runs", { plan: planOf(someForm), projectDirectory: "/" })).status).toBe(403)
  })

  it("plans a form and a source, and says what is wrong with one", async () => {
    const me = await server.as("acme")
    const planned = await me("POST", "/api/v1/plan", { form: { name: "a", model: "./m", dataset: "./d" } })
    expect(planned.status).toBe(200)
    expect(planned.json.steps[0]).toEqual({ id: "select", cached: true, why: "same file, same options as run_0001" })
    expect((await me("POST", "/api/v1/plan", { source: "nonsense" })).json.error.code).toBe("plan_invalid")
    expect((await me("POST", "/api/v1/plan", {})).status).toBe(400)
    expect((await me("POST", "/api/v1/plan", { source: "a", form: { name: "a", model: "m", dataset: "d" } })).status).toBe(400)
  })
})

describe("the edges", () => {
  it("one error shape for what is not there, too large or not JSON", async () => {
    const me = await server.as("acme")
    for (const path of ["/api/v1/nothing", "/api/nothing", "/v1/nothing", "/nothing.js"]) {
      const answer = await me("GET", path)
      expect([path, answer.status, answer.json?.error.code]).toEqual([path, 404, "not_found"])
    }
    expect((await me("DELETE", "/api/v1/runs")).json.error.requestId).toMatch(/^req_/)
    const large = await me("POST", "/api/v1/plan", { source: "x".repeat(5 * 1024 * 1024) })
    expect([large.status, large.json.error.code]).toEqual([413, "too_large"])
    const cookie = await server.login("acme")
    const broken = await fetch(`${server.url}/api/deploy_model`, { method: "POST", headers: { cookie, origin: server.url, "content-type": "application/json" }, body: "{" })
    expect(broken.status).toBe(400)
    expect(((await broken.json()) as any).error.code).toBe("bad_request")
  })

  it("describes itself, and every documented path answers", async () => {
    const { json } = await server.anonymous("GET", "/api/v1/openapi.json")
    const paths = Object.keys(json.paths)
    for (const path of ["/api/deploy_model", "/api/list_models", "/api/get_job_status", "/api/user_dashboard", "/api/v1/runs/{id}", "/api/v1/plan"]) expect(paths).toContain(path)
    expect(json.components.securitySchemes.key.scheme).toBe("bearer")
    const me = await server.as("acme")
    for (const path of paths.filter((one) => "get" in json.paths[one])) {
      const answer = await me("GET", `${path.replace("{id}", "none")}${path.endsWith("get_job_status") ? "?job_id=none" : ""}`)
      expect([200, 404], path).toContain(answer.status)
      if (answer.status === 404) expect(answer.json.error.message).toBe("Nothing here, or not yours")
    }
  })

  it("says how to build the page where it is not built", async () => {
    const answer = await server.anonymous("GET", "/")
    expect(answer.status).toBe(503)
    expect(answer.text).toContain("npm run build -w packages/ui")
  })
})

describe("the pipeline file that a form stands for", () => {
  it("names the hub or a directory, as the model says", () => {
    expect(isHubModel("HuggingFaceTB/SmolLM2-135M-Instruct")).toBe(true)
    expect(isHubModel("./models/tiny")).toBe(false)
    expect(isHubModel("../x")).toBe(false)
    expect(isHubModel("/models/tiny")).toBe(false)
    expect(pipelineSource({ ...someForm, model: "org/name@abc" })).toContain(`hfHub({\n    model: "org/name",\n    revision: "abc",\n    dataset`)
    expect(pipelineSource(someForm)).toContain(`p.select(local({\n    model: "./models/tiny",\n    dataset`)
    expect(pipelineSource(someForm)).toContain("lr: 2e-4")
  })

  it("packages as an image, served in a container, where an engine is present; as a form says, where it says", () => {
    const image = pipelineSource(settledForm(someForm, { containers: true }))
    expect(image).toContain(`p.package(ociImage(), {`)
    expect(image).toContain(`p.serve(container(), {`)
    expect(image).toContain(`import { ociImage } from "@hypernode/plugins/oci-image"`)
    expect(image).not.toMatch(/transformers|\boci\b\(/)
    for (const form of [settledForm(someForm, { containers: false }), settledForm({ ...someForm, packaging: "modelpack" }, { containers: true })]) {
      expect(pipelineSource(form)).toContain(`p.package(oci(), {`)
      expect(pipelineSource(form)).toContain(`p.serve(transformers(), {`)
      expect(pipelineSource(form)).not.toContain("container")
    }
  })

  it("cannot be broken out of by what a form holds", () => {
    const source = pipelineSource({ ...someForm, dataset: `"}));process.exit(1)//`, model: `./${"`"}\${x}\u2028` })
    expect(source).toContain(String.raw`dataset: "\"}));process.exit(1)//"`)
    expect(() => new Function(source.replace(/^import .*$/gm, "").replace("export default pipeline(", "const pipeline = () => {}; pipeline("))).not.toThrow()
  })
})
