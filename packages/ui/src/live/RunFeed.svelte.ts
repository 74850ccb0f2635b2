/**
 * One run, live: an EventSource whose frames are buffered and shown four times a second. The browser reconnects with Last-Event-ID and
 * the server goes on where it was cut, so nothing jumps and nothing is asked for twice.
 */
import { foldEvent } from "@hypernode/api/browser"
import type { Run, SampleRow, StoredEvent } from "@hypernode/api/types"
import { api, Problem, problemOf } from "../api/client.ts"
import { eventLine, type Line, sampleLine } from "./lines.ts"
import { Series } from "./series.ts"

const FLUSH_MILLIS = 250
const QUIET_MILLIS = 2_000
const MAX_LINES = 20_000

export class RunFeed {
  run = $state.raw<Run | undefined>()
  lines = $state.raw<ReadonlyArray<Line>>([])
  output = $state.raw<ReadonlyArray<Line>>([])
  /** grows when `series` has grown: charts redraw on it */
  drawn = $state(0)
  connection = $state<"connecting" | "live" | "reconnecting" | "ended">("connecting")
  problem = $state.raw<Problem | undefined>()
  /** epoch milliseconds of what is shown */
  heardAt = $state(0)
  dropped = $state(0)
  readonly series = new Series()

  readonly #id: string
  #source: EventSource | undefined
  #folded: Run | undefined
  #lines: Array<Line> = []
  #output: Array<Line> = []
  #partial = ""
  #outputCount = 0
  #dirty = { run: false, lines: false, output: false, series: false }
  #flush: ReturnType<typeof setInterval> | undefined
  #quiet: ReturnType<typeof setTimeout> | undefined

  constructor(id: string) {
    this.#id = id
  }

  start(): () => void {
    this.#flush = setInterval(() => this.flush(), FLUSH_MILLIS)
    this.#open()
    return () => {
      clearInterval(this.#flush)
      clearTimeout(this.#quiet)
      this.#source?.close()
    }
  }

  #open(): void {
    const source = new EventSource(api.streamUrl(this.#id))
    this.#source = source
    source.addEventListener("open", () => this.#heard())
    source.addEventListener("error", () => {
      this.#quiet ??= setTimeout(() => {
        if (this.connection !== "ended") this.connection = "reconnecting"
      }, QUIET_MILLIS)
      // Refused, not cut: ask why, once.
      if (source.readyState === EventSource.CLOSED) {
        api.run(this.#id).then(
          () => setTimeout(() => this.connection !== "ended" && this.#open(), 1_000),
          (cause: unknown) => {
            const problem = problemOf(cause)
            if (problem.status === 0) setTimeout(() => this.#open(), 1_000)
            else this.problem = problem
          }
        )
      }
    })
    const on = <A>(name: string, take: (data: A) => void) =>
      source.addEventListener(name, (message) => {
        this.#heard()
        take(JSON.parse((message as MessageEvent<string>).data) as A)
      })
    on<StoredEvent>("run", (stored) => this.#event(stored))
    on<ReadonlyArray<SampleRow>>("sample", (rows) => this.#samples(rows))
    on<{ text: string; stepId: string; attempt: number }>("log", (chunk) => this.#log(chunk))
    on("ping", () => {})
    on<{ code?: string; message?: string }>("problem", (body) => {
      this.problem = new Problem(500, body)
      source.close()
    })
    on("end", () => {
      source.close()
      this.connection = "ended"
      this.flush()
    })
  }

  #heard(): void {
    clearTimeout(this.#quiet)
    this.#quiet = undefined
    if (this.connection !== "live" && this.connection !== "ended") this.connection = "live"
    this.heardAt = Date.now()
  }

  #event(stored: StoredEvent): void {
    if (this.#folded !== undefined && stored.seq <= this.#folded.lastSeq) return
    this.#folded = foldEvent(this.#folded, stored)
    this.#dirty.run = true
    const line = eventLine(stored)
    if (line !== undefined) this.#push(line)
  }

  #samples(rows: ReadonlyArray<SampleRow>): void {
    for (const row of rows) {
      this.series.add(row)
      // One slot's steps are enough to read along; the charts hold them all.
      const line = row.kind === "step" && row.rank !== 0 ? undefined : sampleLine(row)
      if (line !== undefined) this.#push(line)
    }
    this.#dirty.series = true
  }

  #push(line: Line): void {
    this.#lines.push(line)
    this.#dirty.lines = true
  }

  #log(chunk: { text: string; stepId: string; attempt: number }): void {
    const parts = (this.#partial + chunk.text).split("\n")
    this.#partial = parts.pop() ?? ""
    const source = chunk.attempt === 1 ? chunk.stepId : `${chunk.stepId} ${chunk.attempt}`
    for (const text of parts) this.#output.push({ key: `o${this.#outputCount++}`, source, level: "info", text })
    this.#dirty.output = true
  }

  flush(): void {
    const dirty = this.#dirty
    if (dirty.run) this.run = this.#folded
    if (dirty.lines) {
      // Events and samples travel apart; one clock orders them.
      this.#lines.sort((a, b) => a.at! - b.at!)
      if (this.#lines.length > MAX_LINES) {
        this.dropped += this.#lines.length - MAX_LINES
        this.#lines = this.#lines.slice(-MAX_LINES)
      }
      this.lines = this.#lines.slice()
    }
    if (dirty.output) {
      if (this.#output.length > MAX_LINES) this.#output = this.#output.slice(-MAX_LINES)
      this.output = this.#output.slice()
    }
    if (dirty.series) this.drawn += 1
    this.#dirty = { run: false, lines: false, output: false, series: false }
  }
}
