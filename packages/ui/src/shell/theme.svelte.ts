/** Light, dark, or the system's. */
export type Theme = "light" | "dark"

class ThemeChoice {
  now = $state<Theme>(document.documentElement.dataset["theme"] === "dark" ? "dark" : "light")

  toggle(): void {
    this.now = this.now === "dark" ? "light" : "dark"
    document.documentElement.dataset["theme"] = this.now
    try {
      localStorage.setItem("hyper-theme", this.now)
    } catch {
      // it then lasts as long as the page
    }
  }
}

export const theme = new ThemeChoice()
