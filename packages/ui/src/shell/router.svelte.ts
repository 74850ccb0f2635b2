/** Pages by path. Five routes need no library. */
export type Route =
  | { readonly page: "login" }
  | { readonly page: "runs" }
  | { readonly page: "run"; readonly id: string }
  | { readonly page: "new" }
  | { readonly page: "endpoints"; readonly id?: string }
  | { readonly page: "nothing" }

const parse = (path: string): Route => {
  const parts = path.split("/").filter((part) => part !== "").map(decodeURIComponent)
  const [first, second, third] = parts
  if (first === undefined || (first === "runs" && second === undefined)) return { page: "runs" }
  if (first === "runs" && second !== undefined && third === undefined) return { page: "run", id: second }
  if (first === "new" && second === undefined) return { page: "new" }
  if (first === "endpoints" && third === undefined) return second === undefined ? { page: "endpoints" } : { page: "endpoints", id: second }
  if (first === "login") return { page: "login" }
  return { page: "nothing" }
}

class Router {
  path = $state(location.pathname)
  search = $state(location.search)
  route = $derived(parse(this.path))

  constructor() {
    addEventListener("popstate", () => this.#read())
    addEventListener("click", (event) => {
      if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
      const link = (event.target as Element | null)?.closest?.("a[href]")
      if (!(link instanceof HTMLAnchorElement) || link.origin !== location.origin || link.hasAttribute("download") || link.getAttribute("href")!.startsWith("#")) return
      event.preventDefault()
      this.go(link.pathname + link.search)
    })
  }

  #read(): void {
    this.path = location.pathname
    this.search = location.search
  }

  go(to: string, options: { readonly replace?: boolean } = {}): void {
    if (options.replace === true) history.replaceState(null, "", to)
    else history.pushState(null, "", to)
    const moved = this.path !== location.pathname
    this.#read()
    if (moved) scrollTo(0, 0)
  }
}

export const router = new Router()
