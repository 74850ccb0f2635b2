/** Single-key shortcuts: ignored in fields, off when the reader turns them off. No single key destroys anything. */
type Action = () => void

class Keys {
  on = $state(read())
  readonly #actions = new Map<string, Action>()
  #prefix = ""

  constructor() {
    addEventListener("keydown", (event) => {
      if (event.metaKey || event.ctrlKey || event.altKey || event.defaultPrevented) return
      const target = event.target
      if (target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))) return
      if (!this.on && event.key !== "Escape") return
      if (document.querySelector("dialog[open]") !== null) return
      const key = this.#prefix === "g" ? `g ${event.key.toLowerCase()}` : event.key
      this.#prefix = this.#prefix === "" && event.key === "g" ? "g" : ""
      const action = this.#actions.get(key)
      if (action === undefined) return
      event.preventDefault()
      action()
    })
  }

  /** For the life of a component; give the result to an effect's clean-up. */
  bind(actions: Readonly<Record<string, Action>>): () => void {
    for (const [key, action] of Object.entries(actions)) this.#actions.set(key, action)
    return () => {
      for (const [key, action] of Object.entries(actions)) if (this.#actions.get(key) === action) this.#actions.delete(key)
    }
  }

  set(on: boolean): void {
    this.on = on
    try {
      localStorage.setItem("hyper-keys", on ? "on" : "off")
    } catch {
      // it then lasts as long as the page
    }
  }
}

function read(): boolean {
  try {
    return localStorage.getItem("hyper-keys") !== "off"
  } catch {
    return true
  }
}

export const keys = new Keys()
