/** Can pip reach where it will look? Asked once, before pip asks once per package and waits for each. */
import { execFile } from "node:child_process"
import { connect } from "node:net"

export interface PipSources {
  /** pip's index, unless `no-index` is set */
  readonly index: string | undefined
  readonly findLinks: ReadonlyArray<string>
  readonly proxy: string | undefined
}

// pip's own default index has no public name; where that moves, the check is left out and pip itself decides.
const SCRIPT = `
import json
from pip._internal.configuration import Configuration
settings = Configuration(isolated=False)
settings.load()
found = {}
for key, value in settings.items():
    found.update(value if isinstance(value, dict) else {key: value})
def get(name):
    for section in (":env:", "install", "global"):
        value = found.get(section + "." + name)
        if value:
            return value
    return None
try:
    from pip._internal.models.index import PyPI
    default = PyPI.simple_url
except Exception:
    default = None
off = str(get("no-index") or "").lower() in ("1", "true", "yes", "on")
print(json.dumps({"index": None if off else (get("index-url") or default), "findLinks": (get("find-links") or "").split(), "proxy": get("proxy")}))
`

export const pipSources = (python: string, env: Readonly<Record<string, string>>): Promise<PipSources> =>
  new Promise((resolve) => {
    execFile(python, ["-c", SCRIPT], { env: { ...env }, timeout: 20_000 }, (error, stdout) => {
      try {
        const answer = JSON.parse(error === null ? stdout : "{}") as { index?: string | null; findLinks?: Array<string>; proxy?: string | null }
        const proxy = answer.proxy ?? env["HTTPS_PROXY"] ?? env["https_proxy"] ?? env["ALL_PROXY"] ?? env["all_proxy"]
        resolve({ index: answer.index ?? undefined, findLinks: answer.findLinks ?? [], proxy })
      } catch {
        resolve({ index: undefined, findLinks: [], proxy: undefined })
      }
    })
  })

/** Opens a connection to the index (or the proxy) and closes it again; false after `millis`. */
export const reachable = (address: string, millis = 4000): Promise<boolean> =>
  new Promise((resolve) => {
    let url: URL
    try {
      url = new URL(address.includes("://") ? address : `http://${address}`)
    } catch {
      return resolve(false)
    }
    if (url.protocol === "file:") return resolve(true)
    const port = url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port)
    const socket = connect({ host: url.hostname.replace(/^\[|\]$/g, ""), port })
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(millis, () => end(false))
    socket.once("connect", () => end(true))
    socket.once("error", () => end(false))
  })
