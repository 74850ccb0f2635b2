/**
 * What a user does on the page, from the link that the terminal printed to an answer from the model he trained. Driven on the in-memory
 * engine by this package's tests, and on a real daemon by the CLI's.
 */
import type { Page } from "playwright-core"

export interface FlowOptions {
  readonly page: Page
  /** http://127.0.0.1:<port> */
  readonly baseUrl: string
  /** `<page>/login#<token>` */
  readonly loginLink: string
  readonly form: {
    readonly name: string
    readonly model: string
    readonly dataset: string
    readonly epochs?: string
    readonly learningRate?: string
    readonly workers?: string
    readonly pool?: string
    readonly method?: "LoRA" | "Full"
    readonly sandbox?: "Required" | "Strongest there is" | "None"
  }
  readonly question: string
  /** for the whole run; each other step has the page's own limit */
  readonly runMillis: number
  /** told once, when the page shows the run */
  readonly onRun?: (runId: string) => void
}

export interface FlowResult {
  readonly runId: string
  /** stages that the page showed as running at some time, in order */
  readonly seenRunning: ReadonlyArray<string>
  /** training losses that the page showed while it was open, in order, without repeats */
  readonly losses: ReadonlyArray<number>
  readonly cost: string
  readonly accrued: string
  readonly log: ReadonlyArray<string>
  readonly answer: string
}

export const logIn = async (page: Page, loginLink: string): Promise<void> => {
  await page.goto(loginLink)
  await page.getByRole("heading", { name: "Runs", exact: true }).waitFor()
}

/** Fills the form and starts the run; the id of the run that the page then shows. */
export const startJob = async (page: Page, baseUrl: string, form: FlowOptions["form"]): Promise<string> => {
  await page.goto(`${baseUrl}/new`)
  await page.getByRole("heading", { name: "New job" }).waitFor()
  await page.getByLabel("Model", { exact: true }).fill(form.model)
  await page.getByLabel("Data file").fill(form.dataset)
  await page.getByLabel("Name", { exact: true }).fill(form.name)
  if (form.workers !== undefined) await page.getByLabel("Workers", { exact: true }).fill(form.workers)
  if (form.epochs !== undefined) await page.getByLabel("Epochs").fill(form.epochs)
  if (form.learningRate !== undefined) await page.getByLabel("Learning rate").fill(form.learningRate)
  if (form.pool !== undefined) await page.getByLabel("Pool for nodes").fill(form.pool)
  if (form.method !== undefined) await page.getByRole("radio", { name: form.method, exact: true }).check({ force: true })
  if (form.sandbox !== undefined) await page.getByRole("radio", { name: form.sandbox, exact: true }).check({ force: true })
  const file = await page.getByLabel(`Text of ${form.name}.ts`).innerText()
  for (const part of [`pipeline("${form.name}"`, JSON.stringify(form.model), JSON.stringify(form.dataset)]) {
    if (!file.includes(part)) throw new Error(`the file on the page lacks ${part}:\n${file}`)
  }
  await page.getByRole("button", { name: "See plan" }).last().click()
  await page.getByRole("list", { name: "Plan" }).waitFor({ timeout: 60_000 })
  await page.getByRole("button", { name: /^Start run/ }).click()
  await page.waitForURL(/\/runs\/[^/]+$/, { timeout: 60_000 })
  return decodeURIComponent(new URL(page.url()).pathname.split("/").at(-1)!)
}

export const runFlow = async (options: FlowOptions): Promise<FlowResult> => {
  const { page } = options
  await logIn(page, options.loginLink)
  const runId = await startJob(page, options.baseUrl, options.form)
  options.onRun?.(runId)

  const state = page.locator(".meta .st")
  const seenRunning: Array<string> = []
  const losses: Array<number> = []
  const deadline = Date.now() + options.runMillis
  while (true) {
    const text = (await state.textContent().catch(() => "")) ?? ""
    for (const stage of await page.locator('.stn[data-state="running"]').evaluateAll((all) => all.map((one) => one.getAttribute("data-step")!))) {
      if (!seenRunning.includes(stage)) seenRunning.push(stage)
    }
    for (const shown of await page.locator(".panel .end").allTextContents()) {
      const match = /^([\d.]+)\s*train$/.exec(shown.trim())
      const value = match === null ? Number.NaN : Number(match[1])
      if (Number.isFinite(value) && losses.at(-1) !== value) losses.push(value)
    }
    if (/Succeeded/.test(text)) break
    if (/Failed|Cancelled/.test(text)) throw new Error(`the run ended as "${text.trim()}": ${(await page.locator(".log .line").allTextContents()).slice(-10).join(" | ")}`)
    if (Date.now() > deadline) throw new Error(`after ${options.runMillis} ms the page still says "${text.trim()}"`)
    await page.waitForTimeout(100)
  }
  const cost = ((await page.getByRole("region", { name: "Cost" }).locator(".big").textContent()) ?? "").trim()
  const accrued = ((await page.getByRole("region", { name: "Accrued rewards" }).locator(".big").first().textContent()) ?? "").trim()
  const log = await page.locator(".log .line .tx").allTextContents()

  await page.getByRole("link", { name: "Endpoints" }).first().click()
  await page.getByRole("heading", { name: "Endpoints" }).waitFor()
  await page.getByRole("button", { name: options.form.name, exact: true }).first().click()
  await page.getByLabel("Message", { exact: true }).fill(options.question)
  await page.getByRole("button", { name: /^Send/ }).click()
  await page.locator(".turn.assistant .fig").waitFor({ timeout: 120_000 })
  const answer = (await page.locator(".turn.assistant .what").innerText()).replace(/\n?[\d,]+ tokens.*$/s, "").trim()
  return { runId, seenRunning, losses, cost, accrued, log, answer }
}
