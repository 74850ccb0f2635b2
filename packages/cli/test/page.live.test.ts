/** The page on a real daemon, in a real browser: submits a job, follows stages, loss and cost live, chats with what it trained. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, expect, it } from "vitest"
import { launch, noBrowser } from "../../ui/test/browser.ts"
import { runFlow } from "../../ui/test/flow.ts"
import { Hyper } from "./Hyper.ts"

const lacking = noBrowser ?? (process.env["HYPER_PYTHON"] === undefined ? "no Python environment (npm test makes one)" : undefined)
if (lacking !== undefined && process.env["CI"] === "true") throw new Error(lacking)
if (lacking !== undefined) process.stdout.write(`not tested here: the page on a real daemon: ${lacking}\n`)

/** As on a user's machine: the home stands in the project, and the form's paths start there. */
const hyper = new Hyper()
afterAll(async () => { expect(await hyper.close()).toEqual([]) })

it.skipIf(lacking !== undefined)("trains and chats from the page; the four endpoints answer a script's key", async () => {
  const { child } = hyper.start("serve", "--port", "0", "--json")
  const serving = await new Promise<{ url: string; login: string }>((found, fail) => {
    let text = ""
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString()
      if (text.includes("\n")) found(JSON.parse(text.slice(0, text.indexOf("\n"))))
    })
    child.once("exit", (code) => fail(new Error(`hyper serve ended with ${code}`)))
  })
  const browser = await launch()
  try {
    const context = await browser.newContext({ viewport: { width: 1440, height: 1000 } })
    const page = await context.newPage()
    const errors: Array<string> = []
    page.on("pageerror", (error) => errors.push(error.message))
    const result = await runFlow({
      page,
      baseUrl: serving.url,
      loginLink: serving.login,
      form: { name: "from-the-page", model: "./fixtures/models/tiny-llama", dataset: "./fixtures/data/tickets.jsonl", method: "Full", epochs: "2", learningRate: "0.001", workers: "2", sandbox: "Strongest there is" },
      question: "How do I find my order number?",
      runMillis: 400_000
    })
    const shots = process.env["HYPER_SCREENSHOTS"]
    if (shots !== undefined) {
      await page.screenshot({ path: join(shots, "chat.png") })
      await page.goto(`${serving.url}/runs/${result.runId}`)
      await page.waitForTimeout(1_500)
      await page.screenshot({ path: join(shots, "run.png") })
    }
    expect(errors).toEqual([])
    expect(result.seenRunning).toContain("train")
    expect(result.losses.length).toBeGreaterThan(1)
    expect(result.losses.at(-1)).toBeLessThan(result.losses[0] as number)
    expect(result.accrued).toContain("100")
    expect(result.answer.length).toBeGreaterThan(0)

    const key = (await hyper.run("serve", "--key", "ci", "--json")).stdout
    const authorization = `Bearer ${(JSON.parse(key) as { key: string }).key}`
    const ask = async (path: string, init: RequestInit = {}) => fetch(`${serving.url}${path}`, { ...init, headers: { authorization, "content-type": "application/json" } })
    expect((await fetch(`${serving.url}/api/list_models`)).status).toBe(401)
    const models = (await (await ask("/api/list_models")).json()) as { models: Array<{ source: string }> }
    expect(models.models.map((m) => m.source)).toEqual(expect.arrayContaining(["own", "hub"]))
    const status = (await (await ask(`/api/get_job_status?job_id=${result.runId}`)).json()) as { status: string; endpoint: { model: string } }
    expect(status).toMatchObject({ status: "succeeded", endpoint: { model: "from-the-page" } })
    const dashboard = (await (await ask("/api/user_dashboard")).json()) as { runs: { succeeded: number }; endpoints: Array<unknown> }
    expect(dashboard).toMatchObject({ runs: { succeeded: 1 } })
    expect(dashboard.endpoints).toHaveLength(1)
    const bad = await ask("/api/deploy_model", { method: "POST", body: JSON.stringify({ name: "x", model: "./nowhere", dataset: "./nothing.jsonl" }) })
    expect(bad.status).toBeGreaterThanOrEqual(400)
    expect((await bad.json()) as { error: { message: string } }).toMatchObject({ error: { message: expect.stringMatching(/nowhere|nothing/) } })
    const again = await ask("/api/deploy_model", { method: "POST", body: JSON.stringify({ name: "from-the-page", model: "./fixtures/models/tiny-llama", dataset: "./fixtures/data/tickets.jsonl", method: "full", epochs: 2, learningRate: 0.001, workers: 2, sandbox: "auto" }) })
    const { job_id } = (await again.json()) as { job_id: string }
    expect(again.status).toBe(200)
    expect(await Hyper.until(async () => {
      const now = (await (await ask(`/api/get_job_status?job_id=${job_id}`)).json()) as { status: string }
      return now.status === "succeeded" ? true : undefined
    })).toBe(true)
    // what a session or a key may not see is nowhere on disk in plain
    expect(readFileSync(join(hyper.root, "daemon.log"), "utf8")).not.toContain(authorization.slice(7))
  } finally {
    await browser.close()
    child.kill("SIGINT")
  }
}, 600_000)
