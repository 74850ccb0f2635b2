/** `hyper rewards`: balances, and why a node was, or was not, paid. */
import type { Dashboard, Rewards } from "@hypernode/api/contract/views"
import type { Run } from "@hypernode/engine/run/Run"
import { apiFor } from "../client/Daemon.ts"
import { ExitCode } from "../ExitCode.ts"
import { hyper } from "../render/words.ts"

interface Common {
  readonly json?: boolean
  readonly api?: string
}

export const balances = async (options: Common): Promise<ExitCode> => {
  const api = await apiFor(options.api)
  const { balances: all } = await api.get<Dashboard>("/api/user_dashboard")
  if (options.json === true) process.stdout.write(`${JSON.stringify(all)}\n`)
  else {
    for (const { account, units } of all) process.stdout.write(`${hyper(units).padStart(16)} HYPER  ${account}\n`)
    process.stdout.write("This ledger is local test issuance, not money. hyper rewards payouts shows what was paid on a chain.\n")
  }
  return ExitCode.ok
}

export const explain = async (id: string, options: Common & { readonly node?: string }): Promise<ExitCode> => {
  const api = await apiFor(options.api)
  const run = await api.get<Run>(`/api/v1/runs/${encodeURIComponent(id)}`)
  const rewards = await api.get<Rewards>(`/api/v1/runs/${run.id}/rewards${options.node === undefined ? "" : `?node=${encodeURIComponent(options.node)}`}`)
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(rewards)}\n`)
    return ExitCode.ok
  }
  if (rewards.explanations.length === 0) process.stdout.write(`Run ${run.id} has no measured work: nothing was paid, and the pool is the owner's.\n`)
  for (const e of rewards.explanations) {
    process.stdout.write(`${e.sentence}\n  node ${e.node}\n`)
    for (const term of e.terms) process.stdout.write(`  ${term.name.padEnd(22)} weight ${term.weight}  ${term.mine} of ${term.all}  ${hyper(term.units)} HYPER\n`)
    process.stdout.write(`  samples accepted ${e.samples.accepted}\n`)
    for (const r of e.samples.rejected) process.stdout.write(`  not paid: ${r.count} samples: ${r.reason}. ${r.remedy}\n`)
    process.stdout.write(`  signed batches ${e.batches.length}${e.batches.length === 0 ? "" : `, last ${e.batches.at(-1) ?? ""}`}\n  locked until ${new Date(e.unlocksAt).toLocaleString()}\n`)
  }
  return ExitCode.ok
}
