/** Makes the packs that the next start loads from (`bin/pack.js`): in a process of its own, at low priority, ended with the daemon. */
import { programPath } from "@hypernode/engine/program"
import { spawn } from "node:child_process"

/** Settles when it is done or was ended. Never rejects: without packs, a start takes longer. */
export const makePacks = async (cache: string, signal: AbortSignal): Promise<void> => {
  const builder = spawn(process.execPath, ["--experimental-import-meta-resolve", "--no-warnings", programPath(import.meta.url, "../pack/build"), cache], { stdio: "ignore" })
  const stop = (): void => void builder.kill("SIGKILL")
  signal.addEventListener("abort", stop, { once: true })
  process.once("exit", stop)
  await new Promise<void>((done) => builder.once("close", () => done()).once("error", () => done()))
  signal.removeEventListener("abort", stop)
  process.off("exit", stop)
}
