/** Chromium for the page's tests. Where it is missing: a failure under CI=true, a skip with its reason elsewhere. */
import { existsSync } from "node:fs"
import { type Browser, chromium } from "playwright-core"

const candidates = [process.env["HYPER_CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].filter((path) => path !== undefined)

export const chromiumPath = candidates.find((path) => existsSync(path))

export const noBrowser: string | undefined = chromiumPath === undefined ? "no Chromium here: install it, or name one in HYPER_CHROMIUM" : undefined
if (noBrowser !== undefined && process.env["CI"] === "true") throw new Error(noBrowser)
if (noBrowser !== undefined) console.warn(`skipped: ${noBrowser}`)

export const launch = (): Promise<Browser> =>
  chromium.launch({ executablePath: chromiumPath!, args: ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-gpu"] })
