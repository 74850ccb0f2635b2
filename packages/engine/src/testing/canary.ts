/**
 * Looks for a canary (a string planted in private data) wherever it could have leaked: as text, UTF-16, base64 at each of its three
 * alignments, hex, and as token ids, written out or packed. Not found: compressed or encrypted copies, base64 broken into lines, and
 * token ids of another tokenisation (give every sequence that the canary can become in its context).
 */
import { promises as fs } from "node:fs"
import { join } from "node:path"

export interface Needle {
  /** what form it is: `text`, `base64+1`, `int64le`, ... */
  readonly form: string
  readonly bytes: Buffer
}

export interface Canary {
  readonly needles: ReadonlyArray<Needle>
  readonly tokenIds: ReadonlyArray<ReadonlyArray<number>>
  /** no form is longer than this: what two neighbouring pieces must share */
  readonly overlap: number
  /** length of the shortest needle */
  readonly window: number
  /** for each needle, where its window begins */
  readonly anchors: ReadonlyArray<number>
  /** how far a window may move on, by the two bytes it ends with (Wu and Manber 1994); 0: some needle's window may end here */
  readonly shifts: Uint16Array
}

export interface Hit {
  /** file path, or the name a text was given */
  readonly path: string
  readonly form: string
  /** bytes from the start; -1 for a hit in the file's own name */
  readonly offset: number
}

export interface Scan {
  readonly hits: ReadonlyArray<Hit>
  readonly files: number
  readonly bytes: number
  /** regular files that could not be read: a scan with any proves nothing about them */
  readonly unread: ReadonlyArray<string>
}

/** Fewer ids than this happen by chance. */
const MIN_IDS = 4
const PIECE_BYTES = 4 << 20
const ZEROS = Buffer.alloc(4096)

/** Characters of the base64 of `bytes` that do not depend on what stands before or after, when it begins `shift` bytes after a multiple of 3. */
const base64At = (bytes: Buffer, shift: number): string => {
  const encoded = Buffer.concat([Buffer.alloc(shift), bytes]).toString("base64").replace(/=+$/, "")
  const whole = Math.floor(((shift + bytes.length) * 8) / 6)
  return encoded.slice(Math.ceil((shift * 8) / 6), whole)
}

const packed = (ids: ReadonlyArray<number>, width: number, write: (target: Buffer, id: number, at: number) => void): Buffer => {
  const target = Buffer.alloc(ids.length * width)
  ids.forEach((id, i) => write(target, id, i * width))
  return target
}

const packings: ReadonlyArray<readonly [form: string, width: number, max: number, write: (target: Buffer, id: number, at: number) => void]> = [
  ["int16le", 2, 0xffff, (t, id, at) => t.writeUInt16LE(id, at)],
  ["int32le", 4, 0xffffffff, (t, id, at) => t.writeUInt32LE(id, at)],
  ["int32be", 4, 0xffffffff, (t, id, at) => t.writeUInt32BE(id, at)],
  ["int64le", 8, Number.MAX_SAFE_INTEGER, (t, id, at) => t.writeBigUInt64LE(BigInt(id), at)]
]

/**
 * Where in a needle its window stands. A window should not end in two zero bytes: those are most of many files, and each would have to be
 * looked at closely.
 */
const anchorOf = (bytes: Buffer, window: number): number => {
  for (let anchor = 0; anchor + window <= bytes.length; anchor++) if (bytes[anchor + window - 1] !== 0) return anchor
  return 0
}

const shiftsOf = (needles: ReadonlyArray<Needle>): Pick<Canary, "anchors" | "shifts" | "window"> => {
  const window = Math.min(...needles.map((needle) => needle.bytes.length))
  const anchors = needles.map(({ bytes }) => anchorOf(bytes, window))
  const shifts = new Uint16Array(65_536).fill(window - 1)
  for (const [i, { bytes }] of needles.entries()) {
    const part = bytes.subarray(anchors[i])
    for (let end = 1; end < window; end++) {
      const pair = ((part[end - 1] as number) << 8) | (part[end] as number)
      shifts[pair] = Math.min(shifts[pair] as number, window - 1 - end)
    }
  }
  return { anchors, window, shifts }
}

export const canaryOf = (text: string, tokenIds: ReadonlyArray<ReadonlyArray<number>> = []): Canary => {
  const bytes = Buffer.from(text)
  if (bytes.length < 12) throw new Error("A canary needs at least 12 bytes, or it is found by chance.")
  const short = tokenIds.find((ids) => ids.length < MIN_IDS)
  if (short !== undefined) throw new Error(`A canary of ${short.length} token ids is found by chance: give at least ${MIN_IDS}.`)
  const needles: Array<Needle> = [
    { form: "text", bytes },
    { form: "utf16le", bytes: Buffer.from(text, "utf16le") },
    { form: "hex", bytes: Buffer.from(bytes.toString("hex")) },
    { form: "HEX", bytes: Buffer.from(bytes.toString("hex").toUpperCase()) }
  ]
  const escaped = JSON.stringify(text).slice(1, -1).replaceAll(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)
  if (escaped !== text) needles.push({ form: "json", bytes: Buffer.from(escaped) })
  for (const shift of [0, 1, 2]) {
    const standard = base64At(bytes, shift)
    needles.push({ form: `base64+${shift}`, bytes: Buffer.from(standard) })
    const url = standard.replaceAll("+", "-").replaceAll("/", "_")
    if (url !== standard) needles.push({ form: `base64url+${shift}`, bytes: Buffer.from(url) })
  }
  for (const ids of tokenIds) {
    for (const [form, width, max, write] of packings) if (ids.every((id) => id <= max)) needles.push({ form, bytes: packed(ids, width, write) })
  }
  const longestIds = Math.max(0, ...tokenIds.map((ids) => ids.length * 40))
  return { needles, tokenIds, overlap: Math.max(longestIds, ...needles.map((needle) => needle.bytes.length)), ...shiftsOf(needles) }
}

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 48 && byte <= 57
/** What may stand between ids: white space, commas, semicolons, quotes, brackets. */
const isSeparator = (byte: number | undefined): boolean => byte !== undefined && " \t\r\n,;\"'[]()".includes(String.fromCharCode(byte))

const followsAs = (buffer: Buffer, at: number, ids: ReadonlyArray<string>): boolean => {
  if (isDigit(buffer[at - 1])) return false
  for (const [i, id] of ids.entries()) {
    if (i > 0) {
      const start = at
      while (isSeparator(buffer[at])) at++
      if (at === start) return false
    }
    if (buffer.toString("latin1", at, at + id.length) !== id) return false
    at += id.length
    if (isDigit(buffer[at])) return false
  }
  return true
}

const searchNeedles = ({ anchors, needles, shifts, window }: Canary, buffer: Buffer, found: (form: string, offset: number) => void): void => {
  let end = window - 1
  let zeros = 0
  while (end < buffer.length) {
    const pair = ((buffer[end - 1] as number) << 8) | (buffer[end] as number)
    const shift = shifts[pair] as number
    if (shift > 0) {
      // A long run of zeros is passed at once: no window ends in one.
      zeros = pair === 0 ? zeros + 1 : 0
      if (zeros === 64) {
        zeros = 0
        while (end + ZEROS.length < buffer.length && buffer.compare(ZEROS, 0, ZEROS.length, end + 1, end + 1 + ZEROS.length) === 0) end += ZEROS.length
      }
      end += shift
      continue
    }
    for (let i = 0; i < needles.length; i++) {
      const { bytes, form } = needles[i] as Needle
      const start = end - window + 1 - (anchors[i] as number)
      if (start < 0 || buffer[start] !== bytes[0] || start + bytes.length > buffer.length) continue
      if (buffer.compare(bytes, 0, bytes.length, start, start + bytes.length) === 0) found(form, start)
    }
    end++
  }
}

const searchBytes = (canary: Canary, buffer: Buffer, found: (form: string, offset: number) => void): void => {
  searchNeedles(canary, buffer, found)
  for (const sequence of canary.tokenIds) {
    const ids = sequence.map(String)
    for (let at = buffer.indexOf(ids[0] as string); at !== -1; at = buffer.indexOf(ids[0] as string, at + 1)) {
      if (followsAs(buffer, at, ids)) {
        found("ids", at)
        break
      }
    }
  }
}

const searchFile = async (canary: Canary, path: string, found: (form: string, offset: number) => void): Promise<number> => {
  const handle = await fs.open(path, "r")
  const forms = new Set<string>()
  try {
    const buffer = Buffer.allocUnsafe(PIECE_BYTES + canary.overlap)
    let kept = 0, position = 0
    while (true) {
      const { bytesRead } = await handle.read(buffer, kept, PIECE_BYTES, position)
      if (bytesRead === 0) return position
      const filled = kept + bytesRead
      const base = position - kept
      searchBytes(canary, buffer.subarray(0, filled), (form, at) => {
        if (!forms.has(form)) found(form, base + at)
        forms.add(form)
      })
      position += bytesRead
      kept = Math.min(canary.overlap, filled)
      buffer.copyWithin(0, filled - kept, filled)
    }
  } finally {
    await handle.close()
  }
}

const codeOf = (error: unknown): string => (error instanceof Error && "code" in error ? String(error.code) : "")

/**
 * Every file below the directories, names included, links not followed (their targets are read as text). `except` leaves paths out, such
 * as the private data set itself. Of each form the first hit in a file is told.
 */
export const scanDirectories = async (canary: Canary, directories: ReadonlyArray<string>, except: (path: string) => boolean = () => false): Promise<Scan> => {
  const hits: Array<Hit> = []
  const unread: Array<string> = []
  let files = 0, bytes = 0
  const visit = async (path: string): Promise<void> => {
    if (except(path)) return
    const stat = await fs.lstat(path).catch((error) => (codeOf(error) === "ENOENT" ? undefined : Promise.reject(error)))
    if (stat === undefined) return
    const name = Buffer.from(path.slice(path.lastIndexOf("/") + 1))
    searchBytes(canary, name, (form) => hits.push({ path, form: `name:${form}`, offset: -1 }))
    try {
      if (stat.isDirectory()) {
        for (const entry of await fs.readdir(path)) await visit(join(path, entry))
      } else if (stat.isSymbolicLink()) {
        searchBytes(canary, Buffer.from(await fs.readlink(path)), (form, offset) => hits.push({ path, form: `link:${form}`, offset }))
      } else if (stat.isFile()) {
        bytes += await searchFile(canary, path, (form, offset) => hits.push({ path, form, offset }))
        files++
      }
    } catch (error) {
      // gone since it was listed
      if (codeOf(error) !== "ENOENT") unread.push(path)
    }
  }
  for (const directory of directories) await visit(directory)
  return { hits, files, bytes, unread }
}

/** The same search in strings: event logs, replies, argv, environment. */
export const scanTexts = (canary: Canary, texts: Readonly<Record<string, string>>): ReadonlyArray<Hit> => {
  const hits: Array<Hit> = []
  for (const [path, text] of Object.entries(texts)) {
    const forms = new Set<string>()
    searchBytes(canary, Buffer.from(text), (form, offset) => {
      if (!forms.has(form)) hits.push({ path, form, offset })
      forms.add(form)
    })
  }
  return hits
}
