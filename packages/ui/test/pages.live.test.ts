/** The page in a real browser, over a real server, on the in-memory engine. */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import type { Browser, BrowserContext, Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { startServer, type TestServer } from "../../api/test/server.ts"
import { planOf, someForm } from "../../api/test/TestEngine.ts"
import { ensureUiBuild } from "../ensure-build.js"
import { launch, noBrowser } from "./browser.ts"
import { logIn, runFlow } from "./flow.ts"
import { play, withHistory } from "./script.ts"
import { startUpstream } from "./upstream.ts"

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

describe.skipIf(noBrowser !== undefined)("the page", () => {
  let dist: string
  let server: TestServer
  let upstream: Awaited<ReturnType<typeof startUpstream>>
  let browser: Browser
  beforeAll(async () => {
    dist = await ensureUiBuild()
    server = await startServer({ ui: dist })
    upstream = await startUpstream("Open **Settings**, then `Reset`.")
    server.engine.setCatalogue({ models: [{ model: "./models/tiny", name: "tiny", source: "local", parameters: 2_360_000, bytes: 4_700_000, license: "Apache-2.0" }], datasets: [{ dataset: "./tickets.jsonl", name: "tickets.jsonl", bytes: 120_000 }] })
    browser = await launch()
  })
  afterAll(async () => {
    await browser?.close()
    await upstream?.close()
    await server?.close()
  })

  interface Opened {
    readonly context: BrowserContext
    readonly page: Page
    /** what the page complained about: uncaught errors, and breaches of its content policy */
    readonly complaints: Array<string>
  }
  const open = async (options: Parameters<Browser["newContext"]>[0] = {}): Promise<Opened> => {
    const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, ...options })
    const page = await context.newPage()
    const complaints: Array<string> = []
    page.on("pageerror", (error) => complaints.push(error.message))
    page.on("console", (message) => {
      if (/Content Security Policy|Refused to/.test(message.text())) complaints.push(message.text())
    })
    return { context, page, complaints }
  }

  it("takes a user from the printed link to an answer of his own model", async () => {
    const { complaints, context, page } = await open()
    let playing: Promise<void> = Promise.resolve()
    server.engine.onDeploy((run) => {
      playing = play(server.engine, run, { beat: 30, steps: 80, endpointUrl: upstream.url })
    })
    const result = await runFlow({
      page,
      baseUrl: server.url,
      loginLink: await server.loginLink("acme"),
      form: { name: "support-bot", model: "./models/tiny", dataset: "./tickets.jsonl", epochs: "1", workers: "2", sandbox: "Strongest there is" },
      question: "How do I reset my password?",
      runMillis: 60_000
    })
    await playing
    expect(server.engine.calls.at(-1)).toMatchObject({ method: "deploy", tenant: "acme", detail: { name: "support-bot", model: "./models/tiny", dataset: "./tickets.jsonl", epochs: 1, workers: 2, sandbox: "auto" } })
    expect(result.seenRunning).toContain("train")
    expect(result.losses.length).toBeGreaterThan(3)
    expect(result.losses.at(-1)!).toBeLessThan(result.losses[0]!)
    expect(result.cost).toBe("$0.08")
    expect(result.accrued).toContain("61.285")
    expect(result.log.at(-1)).toBe("succeeded")
    expect(result.answer).toBe("Open Settings, then Reset.")
    expect(upstream.asked.at(-1)).toMatchObject({ authorization: "Bearer hyp_abcdefgh", body: { model: "support-bot", stream: true } })
    expect(await page.content()).not.toContain("hyp_abcdefgh")
    expect(complaints).toEqual([])
    await context.close()
  })

  it("says so when the server is gone, keeps what it showed, and goes on where it was cut", async () => {
    const other = await startServer({ ui: dist })
    const { context, page } = await open()
    try {
      let go = () => {}
      const until = new Promise<void>((resolve) => (go = resolve))
      const run = other.engine.create("acme", planOf(someForm))
      const playing = play(other.engine, run, { beat: 5, steps: 60, endpointUrl: upstream.url, pauseAt: { step: 40, until } })
      await logIn(page, await other.loginLink("acme"))
      await page.goto(`${other.url}/runs/${run.id}`)
      await page.getByText("Live", { exact: true }).first().waitFor()
      await page.locator(".log .line", { hasText: "step 39 " }).waitFor()
      await other.stopListening()
      await page.getByText(/^Reconnecting, figures from \d\d:\d\d:\d\d/).waitFor()
      expect(await page.getByRole("button", { name: /^Cancel run/ }).first().isDisabled()).toBe(true)
      expect(await page.locator(".log .line").count()).toBeGreaterThan(5)
      go()
      await playing
      await other.listenAgain()
      await page.locator(".meta .st", { hasText: "Succeeded" }).waitFor()
      await page.getByText("Ended", { exact: true }).first().waitFor()
      // Every step once: nothing was lost while the server was away, and nothing came twice.
      await page.getByLabel("Search the log").fill("step ")
      await page.locator(".log .line", { hasText: "step 60 " }).first().waitFor()
      const seen = new Map<string, number>()
      const box = page.locator(".log")
      for (let top = 0; ; top += 200) {
        await box.evaluate((one, y) => one.scrollTo(0, y), top)
        await page.waitForTimeout(40)
        for (const line of await page.locator(".log .line").evaluateAll((all) => all.map((one) => [one.querySelector(".tx")!.textContent!, one.querySelector(".sl")!.textContent!] as const))) {
          const step = /^step (\d+) loss/.exec(line[0])?.[1]
          if (step !== undefined) seen.set(step, 1)
        }
        if (await box.evaluate((one) => one.scrollTop + one.clientHeight >= one.scrollHeight - 1)) break
      }
      expect([...seen.keys()].map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1))
      const height = await box.evaluate((one) => one.querySelector<HTMLElement>(".all")!.offsetHeight)
      const evaluations = 6
      expect(height / 20).toBe(60 + evaluations)
    } finally {
      await context.close()
      await other.close()
    }
  })

  it("logs nobody in with a link that was used, and says how to print another", async () => {
    const { context, page } = await open()
    const link = await server.loginLink("acme")
    await logIn(page, link)
    await context.clearCookies()
    await page.goto("about:blank")
    await page.goto(link)
    await page.getByRole("alert").waitFor()
    expect(await page.getByRole("main").innerText()).toContain("hyper serve --login")
    expect(page.url()).not.toContain("hyl_")
    // Another link, pasted into the same tab.
    await logIn(page, await server.loginLink("acme"))
    await context.close()
  })

  it("asks before it cancels, shows a stage's inputs and outputs, and is driven by keys", async () => {
    const { complaints, context, page } = await open()
    const run = withHistory(server.engine)
    await logIn(page, await server.loginLink("acme"))
    await page.keyboard.press("n")
    await page.getByRole("heading", { name: "New job" }).waitFor()
    await page.getByLabel("Name", { exact: true }).fill("gr")
    expect(await page.getByLabel("Name", { exact: true }).inputValue()).toBe("gr")
    await page.locator("h1").click()
    await page.keyboard.press("g")
    await page.keyboard.press("r")
    await page.getByRole("heading", { name: "Runs", exact: true }).waitFor()
    await page.goto(`${server.url}/runs/${run.id}`)
    await page.locator("canvas").first().waitFor()
    await page.getByRole("heading", { level: 1 }).waitFor()
    await page.keyboard.press("]")
    await page.keyboard.press("]")
    const aside = page.getByRole("complementary")
    await aside.getByText("encrypt, done").waitFor()
    expect(await aside.innerText()).toContain("select.dataset")
    await page.keyboard.press("Escape")
    await aside.getByRole("heading", { name: "Cost" }).waitFor()
    expect(await page.locator(".band").innerText()).toBe("Resumed from step 1,200\n110 steps run again")
    await page.getByRole("button", { name: /^Cancel run/ }).first().click()
    await page.getByRole("button", { name: "Keep running" }).click()
    expect(server.engine.fold(run).state).toBe("running")
    await page.getByRole("button", { name: /^Cancel run/ }).first().click()
    await page.getByRole("button", { name: "Cancel run", exact: true }).click()
    await page.locator(".meta .st", { hasText: "Cancelling" }).waitFor()
    expect(server.engine.fold(run).state).toBe("cancelling")
    expect(complaints).toEqual([])
    await context.close()
  })

  it("shows what the server says is wrong, in place", async () => {
    const { context, page } = await open()
    await logIn(page, await server.loginLink("acme"))
    await page.goto(`${server.url}/new`)
    await page.getByLabel("Data file").fill("./missing.jsonl")
    await page.getByRole("button", { name: /^Start run/ }).click()
    const alert = page.getByRole("alert")
    await alert.waitFor()
    expect(await alert.innerText()).toMatch(/\.\/missing\.jsonl: there is no such file\. .*req_/s)
    await page.getByLabel("Epochs").fill("many")
    await page.getByRole("button", { name: "See plan" }).last().click()
    expect(await page.locator("#h-epochs").innerText()).toBe("Epochs is a number from 0.01 to 1000")
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("f-epochs")
    await page.goto(`${server.url}/runs/run_none`)
    await page.getByRole("heading", { name: "Nothing here, or not yours" }).waitFor()
    await context.close()
  })

  it("draws an answer as elements, never as HTML", async () => {
    const nasty = await startUpstream(`<img src=x onerror=alert(1)> [click](javascript:alert(1)) <script>alert(1)</script>`)
    const { complaints, context, page } = await open()
    try {
      server.engine.endpoints.push({ tenant: "nasty", key: "hyp_x", id: "ep_nasty", url: nasty.url, model: "nasty", keyHint: "hyp_x", keyId: "k", packaged: `sha256:${"a".repeat(64)}` as never, runId: "run_1", state: "healthy", lastCompletionAt: null })
      await logIn(page, await server.loginLink("nasty"))
      await page.goto(`${server.url}/endpoints`)
      await page.getByLabel("Message", { exact: true }).fill("hi")
      await page.getByRole("button", { name: /^Send/ }).click()
      await page.locator(".turn.assistant .fig").waitFor()
      expect(await page.locator(".turn.assistant .what").innerText()).toContain("<img src=x onerror=alert(1)>")
      expect(await page.locator(".turn.assistant img, .turn.assistant script, .turn.assistant a").count()).toBe(0)
      expect(complaints).toEqual([])
    } finally {
      await context.close()
      await nasty.close()
    }
  })

  it("keeps to its content policy; the check sees a breach", async () => {
    const { complaints, context, page } = await open()
    await page.goto(`${server.url}/login`)
    await page.getByRole("heading", { name: "Log in" }).waitFor()
    expect(complaints).toEqual([])
    await page.evaluate(() => {
      document.body.insertAdjacentHTML("beforeend", `<p style="color:red">planted</p>`)
    })
    await expect.poll(() => complaints.length).toBeGreaterThan(0)
    await context.close()
  })

  it("loads at most 120 kB of script before a page stands", async () => {
    const run = withHistory(server.engine, Date.now(), "budget")
    const sizes: Record<string, number> = {}
    for (const [name, path, ready] of [["Runs", "/", "h1"], ["Run with charts", `/runs/${run.id}`, "canvas"], ["New job", "/new", "h1"], ["Endpoints", "/endpoints", "h1"]] as const) {
      const { context, page } = await open()
      await logIn(page, await server.loginLink("budget"))
      const loaded = new Set<string>()
      page.on("response", (response) => {
        const { pathname } = new URL(response.url())
        if (pathname.endsWith(".js")) loaded.add(pathname)
      })
      await page.goto(`${server.url}${path}`)
      await page.locator(ready).first().waitFor()
      await page.waitForLoadState("load")
      sizes[name] = [...loaded].reduce((sum, file) => sum + gzipSync(readFileSync(join(dist, file)), { level: 9 }).length, 0)
      await context.close()
    }
    console.log(`script, gzipped: ${Object.entries(sizes).map(([name, size]) => `${name} ${(size / 1000).toFixed(1)} kB`).join(", ")}`)
    for (const [name, size] of Object.entries(sizes)) expect(size, name).toBeLessThanOrEqual(120_000)
    expect(Math.min(...Object.values(sizes))).toBeGreaterThan(10_000)
  })

  describe("for everybody", () => {
    const check = async (page: Page): Promise<Array<string>> => {
      await page.evaluate(axe)
      return page.evaluate(async () => {
        const result = await (globalThis as any).axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] })
        return result.violations.flatMap((violation: any) => violation.nodes.map((node: any) => `${violation.id}: ${node.html.slice(0, 120)} ${node.any?.[0]?.message ?? ""}`))
      })
    }

    for (const [theme, width] of [["light", 1440], ["dark", 1440], ["light", 390], ["dark", 320]] as const) {
      it(`every page passes axe in ${theme} at ${width} px, and nothing sticks out`, async () => {
        const { context, page } = await open({ colorScheme: theme, viewport: { width, height: 900 } })
        const tenant = `axe-${theme}-${width}`
        const live = withHistory(server.engine, Date.now(), tenant)
        const done = server.engine.create(tenant, planOf(someForm))
        await play(server.engine, done, { beat: 1, steps: 30, endpointUrl: upstream.url })
        const failed = server.engine.create(tenant, planOf(someForm))
        server.engine.append(failed, { _tag: "StepStarted", step: "select", attempt: 1 })
        server.engine.append(failed, { _tag: "StepFailed", step: "select", attempt: 1, reason: "InvalidInput", message: "tickets.jsonl, line 7: not JSON", remedy: "Correct it", final: true })
        server.engine.append(failed, { _tag: "RunEnded", outcome: "failed" })
        const found: Array<string> = []
        const look = async (name: string) => {
          found.push(...(await check(page)).map((one) => `${name}: ${one}`))
          const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
          if (over > 0) found.push(`${name}: ${over} px stick out at the right`)
        }
        await page.goto(`${server.url}/login`)
        await page.getByRole("heading", { name: "Log in" }).waitFor()
        await look("login")
        await logIn(page, await server.loginLink(tenant))
        await page.getByText("support-bot").first().waitFor()
        await look("runs")
        await page.goto(`${server.url}/runs/${live.id}`)
        await page.locator("canvas").first().waitFor()
        await page.waitForTimeout(400)
        await look("run, live")
        await page.getByRole("button", { name: /^train .*running/ }).click()
        await look("run, stage")
        await page.goto(`${server.url}/runs/${done.id}`)
        await page.getByRole("button", { name: "Explain" }).click()
        await look("run, explain")
        await page.goto(`${server.url}/runs/${failed.id}`)
        await page.locator(".meta .st", { hasText: "Failed" }).waitFor()
        await look("run, failed")
        await page.goto(`${server.url}/new`)
        await page.getByRole("button", { name: "See plan" }).last().click()
        await page.getByRole("list", { name: "Plan" }).waitFor()
        await look("new job")
        await page.goto(`${server.url}/endpoints`)
        await page.getByLabel("Message", { exact: true }).waitFor()
        await look("endpoints")
        await page.goto(`${server.url}/nothing/here`)
        await page.getByRole("heading", { name: /Nothing here/ }).waitFor()
        await look("nothing")
        expect(found).toEqual([])
        await context.close()
      })
    }

    it("the check sees a fault", async () => {
      const { context, page } = await open()
      await page.goto(`${server.url}/login`)
      await page.getByRole("heading", { name: "Log in" }).waitFor()
      await page.evaluate(() => document.querySelector("main")!.append(document.createElement("button")))
      expect((await check(page)).join()).toContain("button-name")
      await context.close()
    })
  })
})
