/**
 * `npm run test:soak`: the daemon is killed (-9) at seeded random moments under many runs, one after another in one home. Every run ends,
 * no step is run after its end. HYPER_SOAK_ROUNDS (default 300) and HYPER_SOAK_SEED (default 1) choose how long and which.
 */
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { expect, it } from "vitest"
import { Hyper, repository, runTwice } from "./Hyper.ts"

const rounds = Number(process.env["HYPER_SOAK_ROUNDS"] ?? 300)
let state = Number(process.env["HYPER_SOAK_SEED"] ?? 1)
/** Park and Miller's minimal standard generator: the same kills for the same seed. */
const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647

it(`${rounds} runs through random kills`, async () => {
  const hyper = new Hyper()
  let kills = 0
  try {
    for (let round = 1; round <= rounds; round++) {
      const { done } = hyper.start("run", join(repository, "packages/cli/test/pipelines/sealed.ts"), "--json")
      await sleep(random() * 2_500)
      const pid = hyper.daemonPid()
      if (pid !== undefined) {
        try {
          process.kill(pid, "SIGKILL")
          kills++
        } catch {
          // it had just left
        }
      }
      await done
      const status = await hyper.run("status", "latest", "--watch", "--json")
      expect([0, 5], `round ${round}: ${status.stderr}`).toContain(status.code)
      for (const { id, state: ended } of JSON.parse((await hyper.run("runs", "--json")).stdout) as Array<{ id: string; state: string }>) {
        expect([id, ended]).toEqual([id, "succeeded"])
        expect(runTwice(await hyper.events(id))).toEqual([])
      }
    }
    process.stdout.write(`${rounds} rounds, ${kills} kills\n`)
  } finally {
    expect(await hyper.close()).toEqual([])
  }
})
