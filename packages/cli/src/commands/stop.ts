/** `hyper stop`: ends what this home runs, in order, and says what it ended. Nothing is lost: unfinished runs go on at the next start. */
import { setTimeout as sleep } from "node:timers/promises"
import { Api } from "../client/Api.ts"
import { alive, answers, currentHome, readDaemonFile, socketOf } from "../client/Daemon.ts"
import { CliError, ExitCode } from "../ExitCode.ts"

export const stop = async (options: { readonly json?: boolean }): Promise<ExitCode> => {
  const home = currentHome()
  const { stopLeftovers } = await import("../daemon/leftovers.ts")
  const stopped: Array<string> = []
  if (await answers(socketOf(home))) {
    const running = readDaemonFile(home)
    const api = new Api({ socketPath: socketOf(home) })
    const { ended } = await api.post<{ readonly ended: ReadonlyArray<string> }>("/api/v1/daemon/stop", { everything: true })
    stopped.push(...ended, "daemon")
    for (let waited = 0; running !== undefined && alive(running.pid); waited += 20) {
      if (waited > 30_000) throw new CliError(ExitCode.failed, `the daemon (process ${running.pid}) did not end within 30 s`, { remedy: `read daemon.log in ${home.root}, then: kill ${running.pid}` })
      await sleep(20)
    }
  }
  stopped.push(...(await stopLeftovers(home)))
  if (options.json === true) process.stdout.write(`${JSON.stringify({ stopped })}\n`)
  else process.stdout.write(stopped.length === 0 ? "Nothing was running.\n" : `Stopped: ${stopped.join(", ")}.\n`)
  return ExitCode.ok
}
