/** Where a program of ours lies: `.ts` in the repository, `.js` in an installed package (Node strips no types below node_modules). */
import { fileURLToPath } from "node:url"

/** `programPath(import.meta.url, "./supervisor")`: absolute path of the sibling program, with the extension that the caller itself has. */
export const programPath = (from: string, name: string): string =>
  fileURLToPath(new URL(`${name}${from.endsWith(".ts") ? ".ts" : ".js"}`, from))
