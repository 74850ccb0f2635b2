/** Everything that can be wrong, each a sentence and a remedy, nothing half-done; then it is mended, and paid once. */
import { chmodSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { formatExact } from "@hypernode/engine/rewards/amount"
import { payOut, rehearse } from "@hypernode/engine/rewards/payouts/payOut"
import { PayoutOutbox } from "@hypernode/engine/rewards/payouts/PayoutOutbox"
import { layer as outboxLayer } from "@hypernode/engine/rewards/payouts/SqlPayoutOutbox"
import { findAssociatedTokenPda, getFreezeAccountInstruction, getMintToInstruction, getThawAccountInstruction, TOKEN_PROGRAM_ADDRESS } from "@solana-program/token"
import { createKeyPairSignerFromBytes, generateKeyPairSigner, lamports } from "@solana/kit"
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { testDatabase } from "../../../engine/test/telemetry/database.ts"
import { openRail } from "../../src/solana/payouts.ts"
import { fair } from "./RpcServer.ts"
import { railOf, violations } from "./schedule.ts"
import { due, HYPER, makeWorld, newKey, payee, type World } from "./world.ts"

const { run } = testDatabase(outboxLayer)
const TIMING = { timeout: 5_000, pause: 0 }
let world: World
let keys = 0
beforeAll(async () => { world = await makeWorld("bad input") })
afterAll(() => world.stop())
beforeEach(() => {
  world.settings()
  world.server.weather = () => fair
  world.server.lacks = "nothing"
})

const sent = () => world.server.requests.get("sendTransaction") ?? 0
const pay = (patience = 20_000) => run(Effect.flatMap(railOf(world, TIMING), (rail) => payOut(rail, patience)))
const rows = () => run(Effect.flatMap(SqlClient, (sql) => sql<{ count: number }>`SELECT (SELECT count(*) FROM payouts)::int + (SELECT count(*) FROM payout_payments)::int + (SELECT count(*) FROM ledger_transfers)::int AS count`))
/** A payer of its own, with its own SOL and tokens. */
const payerOf = async (sol: bigint, tokens: bigint) => {
  const bytes = newKey()
  const file = `payer-${++keys}.json`
  writeFileSync(join(world.home, file), JSON.stringify([...bytes]), { mode: 0o600 })
  const signer = await createKeyPairSignerFromBytes(bytes)
  if (sol > 0n) world.chain.svm.airdrop(signer.address, lamports(sol))
  const [account] = await findAssociatedTokenPda({ owner: signer.address, mint: world.mint, tokenProgram: TOKEN_PROGRAM_ADDRESS })
  const fund = async (units: bigint) => {
    const { getCreateAssociatedTokenIdempotentInstruction } = await import("@solana-program/token")
    await world.run([
      getCreateAssociatedTokenIdempotentInstruction({ payer: world.payer, ata: account, owner: signer.address, mint: world.mint }),
      getMintToInstruction({ mint: world.mint, token: account, mintAuthority: world.payer, amount: units })
    ])
  }
  if (tokens > 0n) await fund(tokens)
  world.settings({ keyFile: file })
  return { file, address: signer.address, account, fund }
}

describe("settings", () => {
  const fails = async (change: () => void | Promise<void>) => {
    const [before] = await rows()
    await change()
    const error = await run(Effect.flip(openRail(world.home)))
    expect((await rows())[0]).toEqual(before)
    expect(`${error.message} ${error.remedy}`).not.toMatch(/SECRET-KEY/)
    return error
  }
  it.each<readonly [string, () => void | Promise<void>, RegExp, RegExp]>([
    ["no settings", () => rmSync(join(world.home, "solana.json")), /no solana\.json/, /chmod 600.*"rpc"/],
    ["settings that others may read", () => chmodSync(join(world.home, "solana.json"), 0o644), /Others may read/, /./],
    ["no JSON", () => writeFileSync(join(world.home, "solana.json"), "{"), /not JSON/, /for example/],
    ["an unknown setting", () => world.settings({ key: "x" }), /unknown setting key/, /for example/],
    ["plain http to another machine", () => world.settings({ rpc: "http://example.com/?api-key=SECRET-KEY" }), /https/, /for example/],
    ["no limits", () => world.settings({ limits: {} }), /limits must be/, /for example/],
    ["a mint that is no address", () => world.settings({ mint: "HYPER" }), /"HYPER" is not a Solana address/, /base58/],
    ["a mint that is not there", async () => world.settings({ mint: (await generateKeyPairSigner()).address }), /does not exist on the network of 127\.0\.0\.1/, /Check mint and rpc/],
    ["a mint that is a wallet", () => world.settings({ mint: world.payer.address }), /is not a token mint/, /Check mint and rpc/],
    ["a mint with other decimals", async () => world.settings({ mint: await world.makeMint(6) }), /6 decimals, the ledger has 9/, /9 decimals/],
    ["no key file", () => world.settings({ keyFile: "none.json" }), /There is no key file/, /solana-keygen new/],
    ["a key file that others may read", () => { writeFileSync(join(world.home, "open.json"), "[]"); chmodSync(join(world.home, "open.json"), 0o640); world.settings({ keyFile: "open.json" }) }, /Others may read the key file.*chmod 600/, /./],
    ["a key file that is a link", () => { symlinkSync(join(world.home, "payer.json"), join(world.home, "link.json")); world.settings({ keyFile: "link.json" }) }, /symbolic link/, /./],
    ["a key file that is none", () => { writeFileSync(join(world.home, "text.json"), "[1,2,3]", { mode: 0o600 }); world.settings({ keyFile: "text.json" }) }, /is not a key file/, /64 numbers/],
    ["a key whose halves do not belong together", () => { writeFileSync(join(world.home, "halves.json"), JSON.stringify([...newKey().slice(0, 32), ...newKey().slice(32)]), { mode: 0o600 }); world.settings({ keyFile: "halves.json" }) }, /public half/, /solana-keygen/],
    ["a node that answers 401", () => { world.server.weather = () => ({ ...fair, refusal: 401 }) }, /answered 401/, /API key/],
    ["a node that answers no batches", () => { world.server.lacks = "batches" }, /does not answer JSON-RPC batches/, /Name a node that does/],
    ["a node that keeps no history", () => { world.server.lacks = "history" }, /keeps no transaction history/, /Name a node that does/]
  ])("refuses %s", async (_name, change, message, remedy) => {
    const error = await fails(change)
    expect(error.message).toMatch(message)
    expect(error.remedy ?? "-").toMatch(remedy)
  })
  it("never shows the key or the RPC address, whatever goes wrong", async () => {
    const key = JSON.parse(readFileSync(join(world.home, "payer.json"), "utf8")) as Array<number>
    const texts = [JSON.stringify(await run(Effect.flip(openRail("/nonexistent"))))]
    for (const refusal of [400, 401, 429, 500, "broken"] as const) {
      world.server.weather = () => ({ ...fair, refusal })
      texts.push(JSON.stringify(await run(Effect.exit(openRail(world.home)))))
    }
    const secrets = ["SECRET-KEY", key.slice(0, 8).join(), Buffer.from(key.slice(0, 32)).toString("hex")]
    const shown = (all: ReadonlyArray<string>) => secrets.filter((secret) => all.some((text) => text.includes(secret)))
    expect(shown(texts)).toEqual([])
    expect(shown([...texts, `fetch failed: ${world.server.url}`, JSON.stringify(key)])).toHaveLength(2)
  })
})

describe("addresses", () => {
  const tokenAccount = async () => (await findAssociatedTokenPda({ owner: world.payer.address, mint: world.mint, tokenProgram: TOKEN_PROGRAM_ADDRESS }))[0]
  it.each<readonly [string, () => string | Promise<string>, RegExp, RegExp]>([
    ["no base58", () => "0OIl", /not a Solana address/, /base58/],
    ["an Ethereum address", () => "0x52908400098527886E0F7030069857D2E4169EE7", /not a Solana address/, /base58/],
    ["a token account", tokenAccount, /no wallet: nobody can hold its key/, /wallet's own address/],
    ["a program", () => TOKEN_PROGRAM_ADDRESS, /not a wallet/, /Register the wallet/],
    ["the mint", () => world.mint, /the mint itself/, /Register the wallet/],
    ["the payer", () => world.payer.address, /the paying wallet itself/, /Register the wallet/]
  ])("pays nothing to %s", async (_name, address, message, remedy) => {
    const before = sent()
    const one = await run(payee(HYPER, await address()))
    const { refused } = await pay()
    const mine = refused.filter(({ node }) => node === one.node)
    expect(mine).toMatchObject([{ message: expect.stringMatching(message), remedy: expect.stringMatching(remedy) }])
    expect(mine[0]).not.toHaveProperty("payout")
    expect(sent()).toBe(before)
    const [row] = await run(Effect.flatMap(SqlClient, (sql) => sql<{ units: string }>`SELECT balance::text AS units FROM ledger_accounts WHERE id = ${`node:${one.node}:available`}`))
    expect(row?.units).toBe(HYPER.toString())
  })
  it("pays nobody whose address was changed in the database, or was signed by another key", async () => {
    const [thief, victim] = [await generateKeyPairSigner(), await run(payee(3n * HYPER))]
    await run(Effect.flatMap(SqlClient, (sql) => sql`INSERT INTO payout_addresses (node, rail, sequence, address, signature, at) SELECT node, rail, sequence + 1, ${thief.address}, signature, at FROM payout_addresses WHERE node = ${victim.node}`))
    await pay()
    expect(await world.balanceOf(thief.address)).toBe(0n)
    await expect(run(PayoutOutbox.use((outbox) => outbox.register(victim.node, "solana", thief.address, () => Effect.succeed(Buffer.alloc(64).toString("base64")))))).rejects.toMatchObject({ message: expect.stringContaining("not signed by that node's key") })
  })
})

describe("the payer", () => {
  it("without SOL, then with", async () => {
    const one = await run(payee(2n * HYPER))
    const payer = await payerOf(0n, 100n * HYPER)
    const { payouts, refused } = await pay()
    expect(refused.find(({ node }) => node === one.node)).toMatchObject({ message: expect.stringMatching(/has 0 SOL; fee and the recipient's token account take 0\.00\d+ SOL/), remedy: `Send SOL to ${payer.address}.` })
    expect(payouts.find(({ node }) => node === one.node)).toMatchObject({ state: "prepared", signatures: 0 })
    world.chain.svm.airdrop(payer.address, lamports(HYPER))
    await pay()
    expect(await run(violations(world, [one]))).toEqual([])
  })
  it("without enough of the token, then with; rehearsed, it says so and holds nothing", async () => {
    const one = await run(payee(9n * HYPER))
    const payer = await payerOf(HYPER, 4n * HYPER)
    const before = await rows()
    const rehearsal = await run(Effect.flatMap(railOf(world, TIMING), rehearse))
    expect(rehearsal.refused.find(({ node }) => node === one.node)?.message).toMatch(/holds 4 HYPER of mint .* the payout is 9 HYPER/)
    expect(await rows()).toEqual(before)
    await payer.fund(50n * HYPER)
    const again = await run(Effect.flatMap(railOf(world, TIMING), rehearse))
    expect(again.due.find(({ node }) => node === one.node)?.note).toBe(`${formatExact(9n * HYPER)} to ${one.wallet}, whose token account is made`)
    expect(await rows()).toEqual(before)
    await pay()
    expect(await run(violations(world, [one]))).toEqual([])
  })
  it("beyond a limit, for one payout and for the day", async () => {
    const one = await run(payee(50n * HYPER))
    const limits = (perPayout: string, perDay: string) => world.settings({ limits: { perPayout, perDay } })
    const refusalOf = async () => (await pay()).refused.find(({ node }) => node === one.node)
    limits("49.999999999 HYPER", "1000000 HYPER")
    expect(await refusalOf()).toMatchObject({ message: expect.stringMatching(/50 HYPER .*more than the limit for one payout, 49\.999999999 HYPER/), remedy: expect.stringContaining("perPayout") })
    limits("50 HYPER", "50 HYPER")
    expect(await refusalOf()).toMatchObject({ message: expect.stringMatching(/in 24 hours; the limit is 50 HYPER/), remedy: expect.stringContaining("perDay") })
    expect(await run(PayoutOutbox.use((outbox) => outbox.list(500)))).not.toContainEqual(expect.objectContaining({ node: one.node }))
    limits("50 HYPER", "100000 HYPER")
    expect(await refusalOf()).toBeUndefined()
    expect(await run(violations(world, [one]))).toEqual([])
  })
})

describe("what goes wrong on the way", () => {
  it("a recipient whose account is frozen is refused before anything is signed, and paid when thawed", async () => {
    const one = await run(payee(HYPER))
    await pay()
    const [account] = await findAssociatedTokenPda({ owner: one.wallet, mint: world.mint, tokenProgram: TOKEN_PROGRAM_ADDRESS })
    await world.run([getFreezeAccountInstruction({ account, mint: world.mint, owner: world.payer })])
    await run(due(one.node, HYPER))
    expect((await pay()).refused.find(({ node }) => node === one.node)?.message).toMatch(/is frozen/)
    await world.run([getThawAccountInstruction({ account, mint: world.mint, owner: world.payer })])
    await pay()
    expect(await run(violations(world, [{ ...one, owed: 2n * HYPER }]))).toEqual([])
  })
  it("a token account's address to which somebody sent SOL before it was made", async () => {
    const one = await run(payee(HYPER))
    const [account] = await findAssociatedTokenPda({ owner: one.wallet, mint: world.mint, tokenProgram: TOKEN_PROGRAM_ADDRESS })
    world.chain.svm.airdrop(account, lamports(HYPER))
    await pay()
    expect(await run(violations(world, [one]))).toEqual([])
  })
  it("a payment that the network takes and does not carry out is not repeated in the same pass, and paid once mended", async () => {
    const one = await run(payee(6n * HYPER))
    const payer = await payerOf(HYPER, 6n * HYPER)
    // between simulation and block the treasury is emptied
    let frozen = false
    world.server.served = (method) => {
      if (method !== "simulateTransaction" || frozen) return
      frozen = true
      void world.run([getFreezeAccountInstruction({ account: payer.account, mint: world.mint, owner: world.payer })])
    }
    const slow = { ...fair, delivery: [6] }
    world.server.weather = () => slow
    const first = await pay()
    world.server.served = () => {}
    expect(first.payouts.find(({ node }) => node === one.node)).toMatchObject({ state: "prepared", failures: 1, signatures: 1, reason: expect.stringMatching(/did not carry it out.*Custom.*17/) })
    expect((await pay()).refused.find(({ node }) => node === one.node)?.message).toMatch(/paying token account .* is frozen/)
    await world.run([getThawAccountInstruction({ account: payer.account, mint: world.mint, owner: world.payer })])
    await pay()
    expect(await run(violations(world, [one]))).toEqual([])
  })
  it("abandoning gives the amount back, and is refused while a payment may land and after it has", async () => {
    const one = await run(payee(8n * HYPER))
    await payerOf(0n, 0n)
    const prepared = (await pay()).payouts.find(({ node }) => node === one.node)!
    const abandon = (id: string) => run(PayoutOutbox.use((outbox) => outbox.abandon(id)))
    expect(await abandon(prepared.id)).toMatchObject({ state: "abandoned" })
    expect(await abandon(prepared.id)).toMatchObject({ state: "abandoned" })
    world.settings()
    world.server.weather = () => ({ ...fair, delivery: [] })
    const signed = (await pay(0)).payouts.find(({ node }) => node === one.node)!
    expect(signed).toMatchObject({ state: "signed" })
    await expect(abandon(signed.id)).rejects.toMatchObject({ reason: "Refused", message: expect.stringContaining("may still land") })
    world.server.weather = () => fair
    await pay()
    await expect(abandon(signed.id)).rejects.toMatchObject({ message: expect.stringContaining("was paid") })
    await expect(abandon("none")).rejects.toMatchObject({ reason: "NotFound", remedy: "hyper rewards payouts lists them" })
    expect(await run(violations(world, [one]))).toEqual([])
  })
  it("a payout prepared for one network is not sent on another", async () => {
    const other = await makeWorld("another network")
    const one = await run(payee(4n * HYPER))
    world.server.weather = () => ({ ...fair, delivery: [] })
    const signed = (await pay(0)).payouts.find(({ node }) => node === one.node)!
    const elsewhere = await run(Effect.flatMap(railOf(other, TIMING), (rail) => payOut(rail, 0)))
    expect(elsewhere.refused.find(({ payout }) => payout === signed.id)?.message).toMatch(/was prepared for token .* on network/)
    expect(await other.balanceOf(one.wallet)).toBe(0n)
    world.server.weather = () => fair
    await pay()
    expect(await run(violations(world, [one]))).toEqual([])
    await other.stop()
  })
})
