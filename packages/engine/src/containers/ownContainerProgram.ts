/** The command line of ownContainer.ts, for a supervisor. All it needs is in it; no secret is: those come by standard input. */
import { programPath } from "../program.ts"
import type { Owned } from "./ownContainer.ts"

const PROGRAM = programPath(import.meta.url, "./ownContainer")

/** Small: it only passes bytes on. */
export const ownContainerProgram = (owned: Owned): readonly [string, ...Array<string>] => [process.execPath, "--max-old-space-size=64", "--max-semi-space-size=1", PROGRAM, JSON.stringify(owned)]
