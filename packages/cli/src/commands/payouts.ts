/** `hyper rewards payout`, `payouts`, `address`: HYPER to the wallets of nodes. Over the home's own socket only. */
import { apiFor } from "../client/Daemon.ts"
import type { AddressView, PayoutReportView, PayoutsView, PayoutView, RefusalView, RehearsalView } from "../client/payoutViews.ts"
import { CliError, ExitCode } from "../ExitCode.ts"
import { hyper } from "../render/words.ts"

interface Common {
  readonly json?: boolean
  readonly api?: string
}

const ROUTE = "/api/v1/daemon/payouts"
/** Milliseconds that one call waits for payments to become final. */
const PATIENCE = 60_000

const ownDaemon = (options: Common) => {
  if (options.api !== undefined) throw new CliError(ExitCode.usage, "payouts are made by the home's own daemon, not over --api", { remedy: "run this on the machine whose home pays" })
  return apiFor(undefined)
}

const line = (payout: PayoutView): string =>
  `${payout.id}  ${payout.state.padEnd(9)} ${hyper(payout.units).padStart(12)} HYPER  ${payout.node.slice(0, 12)} -> ${payout.address}${payout.transaction === null ? "" : `\n  transaction ${payout.transaction}`}${payout.reason === null ? "" : `\n  ${payout.reason}`}\n`

const refusals = (refused: ReadonlyArray<RefusalView>): string =>
  refused.map(({ message, node, remedy }) => `not paid: node ${node.slice(0, 12)}: ${message}\n${remedy === undefined ? "" : `  ${remedy}\n`}`).join("")

export const payouts = async (options: Common): Promise<ExitCode> => {
  const view = await (await ownDaemon(options)).get<PayoutsView>(ROUTE)
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(view)}\n`)
    return ExitCode.ok
  }
  if (view.settings === null) process.stdout.write("This home pays nothing on Solana: it has no solana.json (hyper rewards payout says how to write it).\n")
  else process.stdout.write(`mint ${view.settings.mint}, at most ${hyper(view.settings.perPayout)} HYPER a payout and ${hyper(view.settings.perDay)} a day\n`)
  for (const { address, node } of view.addresses) process.stdout.write(`wallet ${address} of node ${node}\n`)
  for (const { address, units } of view.due) process.stdout.write(`due ${hyper(units)} HYPER to ${address}\n`)
  for (const payout of view.payouts) process.stdout.write(line(payout))
  if (view.payouts.length === 0) process.stdout.write("No payouts yet.\n")
  return ExitCode.ok
}

export const payout = async (options: Common & { readonly dryRun?: boolean }): Promise<ExitCode> => {
  const api = await ownDaemon(options)
  if (options.dryRun === true) {
    const { due, refused } = await api.post<RehearsalView>(ROUTE, { dryRun: true })
    if (options.json === true) process.stdout.write(`${JSON.stringify({ due, refused })}\n`)
    else {
      for (const { note } of due) process.stdout.write(`would pay ${note}\n`)
      process.stdout.write(refusals(refused))
      if (due.length === 0 && refused.length === 0) process.stdout.write("Nothing is due to a node with a registered wallet.\n")
      process.stdout.write("Simulated on the network; nothing was held, signed or sent.\n")
    }
    return refused.length === 0 ? ExitCode.ok : ExitCode.refused
  }
  const { payouts: all, refused } = await api.post<PayoutReportView>(ROUTE, { dryRun: false, patience: PATIENCE })
  if (options.json === true) process.stdout.write(`${JSON.stringify({ payouts: all, refused })}\n`)
  else {
    for (const each of all) process.stdout.write(line(each))
    process.stdout.write(refusals(refused))
    if (all.length === 0 && refused.length === 0) process.stdout.write("Nothing is due to a node with a registered wallet.\n")
    if (all.some(({ state }) => state === "signed")) process.stdout.write("What is signed is on its way: the daemon goes on with it, or run this again.\n")
  }
  return refused.length === 0 ? ExitCode.ok : ExitCode.refused
}

export const abandon = async (id: string, options: Common): Promise<ExitCode> => {
  const each = await (await ownDaemon(options)).post<PayoutView>(`${ROUTE}/${encodeURIComponent(id)}/abandon`)
  process.stdout.write(options.json === true ? `${JSON.stringify(each)}\n` : `abandoned: ${hyper(each.units)} HYPER are available to node ${each.node.slice(0, 12)} again\n`)
  return ExitCode.ok
}

export const address = async (node: string, wallet: string, options: Common): Promise<ExitCode> => {
  const registered = await (await ownDaemon(options)).post<AddressView>(`${ROUTE}/address`, { node, address: wallet })
  process.stdout.write(options.json === true ? `${JSON.stringify(registered)}\n` : `node ${registered.node} is paid to ${registered.address} (statement ${registered.sequence}, signed by its key)\n`)
  return ExitCode.ok
}
