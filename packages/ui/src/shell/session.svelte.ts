/** Who is logged in here, and how the connection is doing: shown at the foot of the navigation. */
import type { Me } from "@hypernode/api/types"
import { api, problemOf } from "../api/client.ts"

class Session {
  me = $state<Me | undefined>()
  state = $state<"loading" | "in" | "out" | "offline">("loading")

  async load(): Promise<void> {
    try {
      this.me = await api.me()
      this.state = "in"
    } catch (cause) {
      this.state = problemOf(cause).status === 401 ? "out" : "offline"
    }
  }

  /** A session that ended while the page was open. */
  lost(): void {
    this.me = undefined
    this.state = "out"
  }
}

export const session = new Session()

/** What the page in front says about its stream. */
export const liveness = $state<{ word: "" | "Live" | "Reconnecting" | "Ended"; detail: string }>({ word: "", detail: "" })
