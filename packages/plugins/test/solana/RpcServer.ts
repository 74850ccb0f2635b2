/**
 * A Solana RPC node, or rather the many nodes behind one address, over HTTP on 127.0.0.1: speaks the methods that the client uses, so
 * that the real @solana/kit client is what is driven. `weather` decides, request by request, what goes wrong.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { Address } from "@solana/kit"
import { Chain, FINAL_AFTER, LIFETIME } from "./Chain.ts"

export interface Weather {
  /** blocks that pass before the request is served */
  readonly tick: number
  /** blocks by which the node that serves it lags */
  readonly lag: number
  /** blocks that this node remembers */
  readonly history: number
  /** an HTTP status, or a connection that breaks: the request is not served */
  readonly refusal?: number | "broken"
  /** the request is served, its answer does not arrive: the connection breaks, or hangs until the client gives up, or holds no JSON */
  readonly answer?: "broken" | "hangs" | "garbage" | "unhealthy"
  /** for a sent payment: blocks until each of its copies lands; none: it was accepted and lost */
  readonly delivery: ReadonlyArray<number>
  /** for a sent payment: blocks for which it is shown as processed on a fork that loses */
  readonly fork: number
}

export const fair: Weather = { tick: 3, lag: 0, history: 1_000_000, delivery: [1], fork: 0 }

export class RpcServer {
  readonly chain: Chain
  weather: (method: string) => Weather = () => fair
  /** called when a request was served, before its answer is sent */
  served: (method: string) => void = () => {}
  /** what this node lacks */
  lacks: "nothing" | "batches" | "history" = "nothing"
  readonly requests = new Map<string, number>()
  readonly #server: Server
  readonly #hanging = new Set<ServerResponse>()
  url = ""

  constructor(chain: Chain) {
    this.chain = chain
    this.#server = createServer((request, response) => void this.#answer(request, response))
    this.#server.keepAliveTimeout = 30_000
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve))
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/?api-key=SECRET-KEY`
    return this
  }
  async stop(): Promise<void> {
    for (const response of this.#hanging) response.destroy()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = ""
    for await (const chunk of request) text += String(chunk)
    interface Call { readonly id: string; readonly method: string; readonly params?: ReadonlyArray<any> }
    const parsed = JSON.parse(text) as Call | ReadonlyArray<Call>
    // a batch is one request: one node, one weather
    if (Array.isArray(parsed) && this.lacks === "batches") return void response.end(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: -32600, message: "Batches are not supported" } }))
    const calls = Array.isArray(parsed) ? (parsed as ReadonlyArray<Call>) : [parsed as Call]
    const method = calls.map((call) => call.method).join()
    this.requests.set(method, (this.requests.get(method) ?? 0) + 1)
    const weather = this.weather(method)
    this.chain.advance(weather.tick)
    if (weather.refusal === "broken") return void response.destroy()
    if (weather.refusal !== undefined) return void response.writeHead(weather.refusal).end()
    const results = calls.map((call) => ({ jsonrpc: "2.0", id: call.id, ...this.#serve(call.method, call.params ?? [], weather) }))
    this.served(method)
    if (weather.answer === "broken") return void response.destroy()
    if (weather.answer === "hangs") return void this.#hanging.add(response)
    if (weather.answer === "garbage") return void response.writeHead(200).end("<html>gateway</html>")
    const bodies = weather.answer === "unhealthy" ? calls.map(({ id }) => ({ jsonrpc: "2.0", id, error: { code: -32005, message: "Node is behind by 42 slots", data: { numSlotsBehind: 42 } } })) : results
    const body = Array.isArray(parsed) ? bodies : bodies[0]
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body))
  }

  #serve(method: string, params: ReadonlyArray<any>, { delivery, fork, history, lag }: Weather): { readonly result: unknown } | { readonly error: unknown } {
    const { chain } = this
    const height = Math.max(1, chain.height - lag)
    const context = { slot: chain.slotAt(height) }
    switch (method) {
      case "getGenesisHash":
        return { result: chain.genesis }
      case "getMultipleAccounts":
        return { result: { context, value: (params[0] as Array<Address>).map((address) => {
          const account = chain.svm.getAccount(address)
          return account.exists ? { data: [Buffer.from(account.data).toString("base64"), "base64"], executable: account.executable, lamports: Number(account.lamports), owner: account.programAddress, rentEpoch: 0, space: account.data.length } : null
        }) } }
      case "getMinimumBalanceForRentExemption":
        return { result: Number(chain.svm.minimumBalanceForRentExemption(BigInt(params[0]))) }
      case "getLatestBlockhash": {
        const confirmed = Chain.confirmed(height)
        return { result: { context, value: { blockhash: chain.blockhashAt(confirmed), lastValidBlockHeight: confirmed + LIFETIME } } }
      }
      case "simulateTransaction":
        return { result: { context, value: { err: chain.simulate(params[0], height), logs: [], unitsConsumed: 0, accounts: null, returnData: null } } }
      case "sendTransaction":
        return { result: chain.submit(params[0], delivery, fork) }
      case "getSignatureStatuses":
        if (this.lacks === "history") return { error: { code: -32011, message: "Transaction history is not available from this node" } }
        return { result: { context, value: (params[0] as Array<string>).map((signature) => {
          const status = chain.status(signature, height, params[1]?.searchTransactionHistory === true ? history : 0)
          return status === undefined ? null : { slot: status.slot, confirmations: status.commitment === "finalized" ? null : 1, confirmationStatus: status.commitment, err: status.error, status: status.error === null ? { Ok: null } : { Err: status.error } }
        }) } }
      case "getEpochInfo": {
        const at = params[0]?.commitment === "finalized" ? height - FINAL_AFTER : height
        return { result: { absoluteSlot: chain.slotAt(at), blockHeight: Math.max(0, at), epoch: 0, slotIndex: 0, slotsInEpoch: 432_000, transactionCount: null } }
      }
      case "getFirstAvailableBlock":
        return { result: chain.slotAt(height - history) }
      default:
        return { error: { code: -32601, message: `Method not found: ${method}` } }
    }
  }
}
