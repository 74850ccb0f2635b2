/** Runs after `npm pack` in a package's folder. */
import { restore } from "./restore.mjs"

restore(process.cwd())
