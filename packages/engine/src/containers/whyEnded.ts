/** Three ways for a container to end badly that look alike from its exit code. */
import type { ContainerEnd } from "../capability/Containers.ts"

/**
 * `memory`: the kernel says so (a limit of the container, or of the machine). `disk`: its last words are the system's words for it; no
 * one else knows. `exit`: its own doing. `done`: code 0, also where a process in it was ended for lack of memory and it went on.
 */
export type WhyEnded = "done" | "exit" | "memory" | "disk"

export const whyEnded = (end: ContainerEnd, output: string): WhyEnded =>
  end.exitCode === 0 ? "done" : end.outOfMemory ? "memory" : /No space left on device|ENOSPC|Disk quota exceeded/.test(output) ? "disk" : "exit"
