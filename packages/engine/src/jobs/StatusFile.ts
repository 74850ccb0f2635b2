/**
 * `status.json`, replaced whole by a rename. Its space is taken ahead of time, so that a full disk cannot hide how a job ended: the
 * next status is written over blocks that the file already has.
 */
import { closeSync, openSync, renameSync, writeSync } from "node:fs"
import type { JobState } from "../capability/Jobs.ts"

const SIZE = 4096

export class StatusFile {
  readonly #path: string
  readonly #next: string
  #reserved = false

  constructor(path: string) {
    this.#path = path
    this.#next = `${path}.next`
    this.#reserve()
  }

  #overwrite(path: string, flag: "w" | "r+", text: string): void {
    const file = openSync(path, flag, 0o600)
    try {
      // padded with white space, which JSON allows: the length never changes, so no block is ever asked for
      writeSync(file, text.padEnd(SIZE), 0)
    } finally {
      closeSync(file)
    }
  }

  #reserve(): void {
    try {
      this.#overwrite(this.#next, "w", "")
      this.#reserved = true
    } catch {
      this.#reserved = false
    }
  }

  write(state: JobState): void {
    const text = JSON.stringify(state)
    if (!this.#reserved) this.#reserve()
    if (this.#reserved) {
      this.#overwrite(this.#next, "r+", text)
      renameSync(this.#next, this.#path)
      this.#reserve()
    } else {
      // no room for a second file: one write into the blocks of the first
      this.#overwrite(this.#path, "r+", text)
    }
  }
}
