/** `node packages/ui/test/shots.ts <directory>`: pictures of every page, for eyes. Not a test. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { startServer } from "../../api/test/server.ts"
import { planOf, someForm } from "../../api/test/TestEngine.ts"
import { ensureUiBuild } from "../ensure-build.js"
import { launch } from "./browser.ts"
import { play, withHistory } from "./script.ts"
import { startUpstream } from "./upstream.ts"

const out = process.argv[2] ?? "test-results"
const only = process.argv[3]
mkdirSync(out, { recursive: true })
const server = await startServer({ ui: await ensureUiBuild() })
const upstream = await startUpstream("You can **reset your password** under *Settings*:\n\n1. Open `Settings`\n2. Choose Reset\n\nThe link works for 24 hours.")
const browser = await launch()
try {
  const { engine } = server
  engine.setCatalogue({
    models: [{ model: "./models/SmolLM2-135M-Instruct", name: "SmolLM2 135M Instruct", source: "local", parameters: 134_515_008, bytes: 269_000_000, license: "Apache-2.0" }, { model: "HuggingFaceTB/SmolLM2-360M-Instruct", name: "SmolLM2 360M", source: "hub", parameters: 361_821_120, license: "Apache-2.0", cached: false }],
    datasets: [{ dataset: "./tickets.jsonl", name: "tickets.jsonl", bytes: 1_068_000 }]
  })
  const done = engine.create("acme", planOf(someForm))
  await play(engine, done, { beat: 2, steps: 60, endpointUrl: upstream.url })
  const failed = engine.create("acme", planOf({ ...someForm, name: "faq" }))
  engine.append(failed, { _tag: "RunStarted", executor: "embedded" })
  engine.append(failed, { _tag: "StepStarted", step: "select", attempt: 1 })
  engine.append(failed, { _tag: "StepFailed", step: "select", attempt: 1, reason: "InvalidInput", message: "tickets.jsonl, line 7: not a JSON object", remedy: "Correct the line, then resume", final: true })
  engine.append(failed, { _tag: "RunEnded", outcome: "failed" })
  const run = withHistory(engine)

  for (const [theme, width, height, tag] of [["light", 1440, 1000, "light"], ["dark", 1440, 1000, "dark"], ["dark", 390, 844, "phone"]] as const) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, deviceScaleFactor: 1 })
    const page = await context.newPage()
    page.on("console", (message) => message.type() === "error" && console.log("console:", message.text()))
    page.on("pageerror", (error) => console.log("page error:", error.message))
    const shot = async (name: string, full = true) => {
      await page.waitForTimeout(900)
      // A taller window instead of Playwright's full-page mode, which scrolls the log back to its top.
      if (full) await page.setViewportSize({ width, height: Math.max(height, await page.evaluate(() => document.documentElement.scrollHeight)) })
      await page.waitForTimeout(200)
      await page.screenshot({ path: join(out, `${name}-${tag}.png`) })
      await page.setViewportSize({ width, height })
    }
    const want = (name: string) => only === undefined || name.startsWith(only)
    if (want("login")) {
      await page.goto(`${server.url}/`)
      await page.getByRole("heading", { name: "Log in" }).waitFor()
      await shot("login")
    }
    await page.goto(await server.loginLink("acme"))
    await page.getByRole("heading", { name: "Runs" }).waitFor()
    if (want("runs")) await shot("runs")
    if (want("run-live")) {
      await page.goto(`${server.url}/runs/${run.id}`)
      await page.locator("canvas").first().waitFor()
      if (width > 720) {
        await shot("run-live-idle")
        const box = (await page.locator(".frame").boundingBox())!
        await page.mouse.move(box.x + box.width * 0.45, box.y + 200)
      }
      await shot("run-live")
      await page.getByRole("button", { name: /^train .*running/ }).click()
      await page.mouse.move(0, 0)
      await shot("run-stage")
    }
    if (want("run-done")) {
      await page.goto(`${server.url}/runs/${done.id}`)
      await page.locator("canvas").first().waitFor()
      await shot("run-done")
      await page.getByRole("button", { name: "Explain" }).click()
      await shot("run-explain", false)
    }
    if (want("run-failed")) {
      await page.goto(`${server.url}/runs/${failed.id}`)
      await page.getByRole("button", { name: /^select failed/ }).click()
      await shot("run-failed")
    }
    if (want("new")) {
      await page.goto(`${server.url}/new`)
      await page.getByLabel("Epochs").fill("5")
      await page.getByRole("button", { name: "See plan" }).last().click()
      await page.getByRole("list", { name: "Plan" }).waitFor()
      await shot("new")
    }
    if (want("endpoints")) {
      await page.goto(`${server.url}/endpoints`)
      await page.getByLabel("Message").fill("How do I reset my password?")
      await page.getByRole("button", { name: "Send" }).click()
      await page.getByText("tokens/s").waitFor()
      await shot("endpoints")
    }
    await context.close()
  }
} finally {
  await browser.close()
  await upstream.close()
  await server.close()
}
