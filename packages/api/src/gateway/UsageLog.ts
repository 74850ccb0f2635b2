/**
 * The write-ahead log of usage: one line per finished request, written before the caller gets the last byte, so that no answer goes
 * unmetered when the gateway is killed. The engine takes each line into SQL once, by (gateway, sequence).
 *
 * Lines go to the page cache at once (a killed process loses none) and to the disk every second (a power cut may lose a second).
 */
import { closeSync, existsSync, fdatasync, fstatSync, fsyncSync, ftruncateSync, linkSync, openSync, readFileSync, renameSync, writeSync } from "node:fs"
import type { UsageRecord } from "@hypernode/engine/endpoints/GatewayState"
import type { Quota } from "./Quota.ts"

/** First line of a file: what came before it, so that the files before may go. */
interface Header {
  readonly header: true
  readonly gateway: string
  /** last sequence number given out before this file */
  readonly sequence: number
  readonly day: number
  readonly tokens: ReadonlyArray<readonly [string, number]>
}

export class UsageLog {
  readonly #path: string
  readonly #gateway: string
  readonly #quota: Quota
  readonly #log: (line: string) => void
  readonly #rotateAt: number
  #fd: number
  #bytes: number
  #sequence = 0
  #dirty = false
  #pending: Array<string> = []
  readonly #timer: NodeJS.Timeout

  constructor(path: string, gateway: string, quota: Quota, log: (line: string) => void, rotateAt = 4 * 1024 * 1024) {
    this.#path = path
    this.#gateway = gateway
    this.#quota = quota
    this.#log = log
    this.#rotateAt = rotateAt
    const keep = this.#recover()
    this.#fd = openSync(path, "a", 0o600)
    if (keep < fstatSync(this.#fd).size) ftruncateSync(this.#fd, keep) // a line torn by a kill was never acknowledged
    this.#bytes = keep
    if (keep === 0) this.#append(this.#header())
    this.#timer = setInterval(() => this.#sync(), 1000)
    this.#timer.unref()
  }

  get sequence(): number {
    return this.#sequence
  }

  record(usage: Omit<UsageRecord, "gateway" | "sequence">): void {
    this.#sequence += 1
    this.#append(`${JSON.stringify({ gateway: this.#gateway, sequence: this.#sequence, ...usage } satisfies UsageRecord)}\n`)
    this.#quota.spend(usage.tenant, usage.key, usage.promptTokens + usage.completionTokens, usage.at)
    if (this.#bytes > this.#rotateAt) this.#rotate()
  }

  close(): void {
    clearInterval(this.#timer)
    try {
      fsyncSync(this.#fd)
    } finally {
      closeSync(this.#fd)
    }
  }

  #header(): string {
    const header: Header = { header: true, gateway: this.#gateway, sequence: this.#sequence, day: this.#quota.day, tokens: this.#quota.today() }
    return `${JSON.stringify(header)}\n`
  }

  /** Bytes of whole lines; takes up sequence and today's tokens from them. */
  #recover(): number {
    if (!existsSync(this.#path)) return 0
    const bytes = readFileSync(this.#path)
    const end = bytes.lastIndexOf(0x0a) + 1
    for (const line of bytes.subarray(0, end).toString("utf8").split("\n")) {
      if (line === "") continue
      try {
        const entry = JSON.parse(line) as Header | UsageRecord
        this.#sequence = Math.max(this.#sequence, entry.sequence)
        if ("header" in entry) this.#quota.restore(entry.day, entry.tokens)
        else this.#quota.spend(entry.tenant, entry.key, entry.promptTokens + entry.completionTokens, entry.at)
      } catch {
        this.#log(`${this.#path}: a line is not JSON and is skipped`)
      }
    }
    return end
  }

  /** A full disk must not stop answers: lines wait in memory, and the log says so. */
  #append(line: string): void {
    this.#pending.push(line)
    const text = this.#pending.join("")
    try {
      const data = Buffer.from(text)
      const written = writeSync(this.#fd, data)
      if (written < data.length) {
        ftruncateSync(this.#fd, this.#bytes)
        throw new Error("only a part was written")
      }
      this.#bytes += written
      this.#pending = []
      this.#dirty = true
    } catch (error) {
      if (this.#pending.length === 1 || this.#pending.length % 1000 === 0) {
        this.#log(`usage cannot be written (${(error as Error).message}); ${this.#pending.length} records wait in memory: free some space`)
      }
    }
  }

  /** The new file is complete, with the sequence in its header, before it gets the name. */
  #rotate(): void {
    if (this.#pending.length > 0) return
    const next = `${this.#path}.next`
    try {
      fsyncSync(this.#fd)
      const fd = openSync(next, "w", 0o600)
      const header = this.#header()
      writeSync(fd, header)
      fsyncSync(fd)
      closeSync(fd)
      // a second name first, then the replacement: at no moment is there no usage.jsonl
      linkSync(this.#path, this.#path.replace(/\.jsonl$/, `.${this.#sequence}.jsonl`))
      renameSync(next, this.#path)
      closeSync(this.#fd)
      this.#fd = openSync(this.#path, "a", 0o600)
      this.#bytes = Buffer.byteLength(header)
    } catch (error) {
      this.#log(`usage file cannot be rotated: ${(error as Error).message}`)
    }
  }

  #sync(): void {
    if (this.#pending.length > 0) {
      const waiting = this.#pending.pop()
      if (waiting !== undefined) this.#append(waiting)
    }
    if (!this.#dirty) return
    this.#dirty = false
    fdatasync(this.#fd, (error) => {
      if (error) this.#log(`usage could not be synced: ${error.message}`)
    })
  }
}
