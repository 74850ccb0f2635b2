/**
 * Shared memory that rows are read into and sealed from: nothing is copied on the way, nor between threads. What is in flight decides how
 * much there is; it goes round. (Ordinary buffers, moved to the threads, make V8 collect garbage for every few segments.)
 */
export interface Slot {
  readonly bytes: Buffer<SharedArrayBuffer>
  /** segments in it that are not sealed yet */
  unsealed: number
  /** nothing more is read into it */
  filled: boolean
}

const ZERO = Buffer.alloc(1)

/** With a number V8 clears shared memory byte by byte, at five times the cost. */
export const wipe = (bytes: Uint8Array<SharedArrayBuffer>): void => void Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).fill(ZERO)

export class Slots {
  readonly #size: number
  readonly #spare: Array<Slot> = []
  readonly #used = new Set<Slot>()

  /** `size`: bytes of a slot; one for a longer row is made for it and not kept. */
  constructor(size: number) {
    this.#size = size
  }

  take(atLeast: number): Slot {
    const spare = atLeast <= this.#size ? this.#spare.pop() : undefined
    const slot = spare ?? { bytes: Buffer.from(new SharedArrayBuffer(Math.max(atLeast, this.#size))), unsealed: 0, filled: false }
    slot.filled = false
    this.#used.add(slot)
    return slot
  }

  filled(slot: Slot): void {
    slot.filled = true
    this.#giveBack(slot)
  }

  /** One of its segments was sealed. */
  sealed(slot: Slot): void {
    slot.unsealed--
    this.#giveBack(slot)
  }

  #giveBack(slot: Slot): void {
    if (!slot.filled || slot.unsealed > 0) return
    this.#used.delete(slot)
    if (slot.bytes.length === this.#size) this.#spare.push(slot)
  }

  /** What a run that ended early left unsealed. */
  wipe(): void {
    for (const { bytes } of this.#used) wipe(bytes)
  }
}
