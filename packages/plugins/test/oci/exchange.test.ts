import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer, type RequestListener } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { exchange, textOf } from "../../src/oci/exchange.ts"

let directory = ""
let path = ""
const servers: Array<() => Promise<void>> = []
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "exchange-"))
  path = join(directory, "file")
})
afterEach(async () => {
  for (const close of servers.splice(0)) await close()
  await rm(directory, { recursive: true, force: true })
})
const serve = async (listener: RequestListener): Promise<URL> => {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  servers.push(() => (server.closeAllConnections(), new Promise((resolve) => server.close(() => resolve()))))
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
}
const put = (url: URL, size: number, onBytes: (bytes: number) => void = () => undefined) => exchange({ method: "PUT", url, headers: {}, body: { path, size, onBytes }, signal: new AbortController().signal })

describe("exchange", () => {
  it.each([0, 1, 3_000_000])("sends a file of %d bytes with its length", async (size) => {
    await writeFile(path, Buffer.alloc(size, 7))
    let got = 0
    const url = await serve(async (request, response) => {
      for await (const chunk of request) got += (chunk as Buffer).length
      response.writeHead(201).end(request.headers["content-length"])
    })
    let told = 0
    const answer = await put(url, size, (bytes) => (told += bytes))
    expect((await textOf(answer.body, 100)).bytes.toString()).toBe(String(size))
    expect([answer.status, got, told]).toEqual([201, size, size])
  })

  it("takes an answer that comes before the file has gone out, and sends no more", async () => {
    await writeFile(path, Buffer.alloc(50_000_000))
    const url = await serve((_request, response) => void response.writeHead(413).end("too large"))
    let told = 0
    const answer = await put(url, 50_000_000, (bytes) => (told += bytes))
    expect(answer.status).toBe(413)
    expect((await textOf(answer.body, 100)).bytes.toString()).toBe("too large")
    expect(told).toBeLessThan(50_000_000)
  })

  it("ends where the file is shorter than was said, or is not there", async () => {
    await writeFile(path, "short")
    const url = await serve((request) => void request.resume())
    await expect(put(url, 6)).rejects.toMatchObject({ code: "EIO" })
    await rm(path)
    await expect(put(url, 6)).rejects.toMatchObject({ code: "ENOENT" })
  })

  it("reads no more of an answer than it may", async () => {
    const url = await serve((_request, response) => void response.end(Buffer.alloc(1000)))
    const read = async (limit: number) => {
      const { bytes, whole } = await textOf((await exchange({ method: "GET", url, headers: {}, signal: new AbortController().signal })).body, limit)
      return [bytes.length, whole]
    }
    expect(await read(1000)).toEqual([1000, true])
    expect(await read(999)).toEqual([999, false])
  })
})
