/** Labels that tie images and containers to what they were made for. */
import { createHash } from "node:crypto"

export const LABEL = {
  /** a digest of the home's path: two homes on one machine never touch each other's containers */
  home: "ai.hypernode.home",
  /** the process that made it, as pid, boot id and start time: gone with it, it is an orphan */
  owner: "ai.hypernode.owner",
  run: "ai.hypernode.run",
  step: "ai.hypernode.step",
  job: "ai.hypernode.job",
  /** train, serve, check */
  purpose: "ai.hypernode.purpose",
  plan: "ai.hypernode.plan",
  package: "ai.hypernode.package",
  server: "ai.hypernode.server"
} as const

export const homeLabel = (root: string): string => createHash("sha256").update(root).digest("hex").slice(0, 16)
