/** The home that this process serves. */
import * as Context from "effect/Context"
import type { Home } from "../Home.ts"

export class CurrentHome extends Context.Service<CurrentHome, Home>()("@hypernode/engine/capability/CurrentHome") {}
