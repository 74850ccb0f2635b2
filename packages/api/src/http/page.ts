/**
 * The built page. Only files that were in the build when it was first read are served, by exact name: there is no path to walk.
 * `/assets/*` carry their digest in the name and may be kept for ever; everything else is the page itself.
 */
import { readdirSync, readFileSync } from "node:fs"
import { extname, join } from "node:path"

const types: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".woff2": "font/woff2",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".json": "application/json"
}

export const contentSecurityPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const missing = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Hypernode</title>
<h1>The page is not built</h1>
<p>The API works. To build the page, run this in the repository, then reload:</p>
<pre>npm run build -w packages/ui</pre>
</html>`

export interface Page {
  readonly respond: (path: string) => Response | undefined
}

/** `directory` may appear later (built on demand): it is looked for until it is there. */
export const makePage = (directory: string | undefined): Page => {
  let files: ReadonlyMap<string, { readonly bytes: Uint8Array<ArrayBuffer>; readonly type: string }> | undefined
  const load = () => {
    if (files !== undefined || directory === undefined) return
    try {
      const found = new Map<string, { bytes: Uint8Array<ArrayBuffer>; type: string }>()
      for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile()) continue
        const path = join(entry.parentPath, entry.name)
        found.set(`/${path.slice(directory.length + 1).replaceAll("\\", "/")}`, { bytes: new Uint8Array(readFileSync(path)), type: types[extname(entry.name)] ?? "application/octet-stream" })
      }
      if (found.has("/index.html")) files = found
    } catch {
      // not built yet
    }
  }
  return {
    respond: (path) => {
      load()
      if (files === undefined) {
        return extname(path) === "" ? new Response(missing, { status: 503, headers: { "content-type": types[".html"]!, "cache-control": "no-store" } }) : undefined
      }
      const file = files.get(path)
      if (file !== undefined && path !== "/index.html") {
        return new Response(file.bytes, { headers: { "content-type": file.type, "cache-control": path.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-cache" } })
      }
      // Pages of the app have no extension; a missing file is missing.
      if (extname(path) !== "" && path !== "/index.html") return undefined
      return new Response(files.get("/index.html")!.bytes, { headers: { "content-type": types[".html"]!, "cache-control": "no-cache" } })
    }
  }
}
