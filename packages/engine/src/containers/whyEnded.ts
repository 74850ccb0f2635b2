/** Tells bad ends apart that look alike from an exit code. */
import type { ContainerEnd, WhyEnded } from "../capability/Containers.ts"

/** The system's own words, in whatever language the program is written. */
export const saysDiskFull = (output: string): boolean => /No space left on device|ENOSPC|Disk quota exceeded/.test(output)

export const whyEnded = (end: ContainerEnd, output: string): WhyEnded => (end.exitCode === 0 ? "done" : end.outOfMemory ? "memory" : saysDiskFull(output) ? "disk" : "exit")
