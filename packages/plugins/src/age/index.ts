/** `p.encrypt(age(), { dataset })`: seals a private data set as segments of whole records, each a standard age v1 file. */
import { use } from "@hypernode/engine/plugin/use"

export interface AgeOptions {
  /** further `age1...` recipients (X25519) that may open every segment; the home's own key always can */
  readonly recipients?: ReadonlyArray<string>
  /** plaintext bytes of a segment at most (default 4 MiB); a single longer row makes a segment of its own */
  readonly segmentBytes?: number
  /** rows of a segment at most; by default a sixteenth of the data set, so that a small one can still be split among workers */
  readonly segmentRows?: number
}

export const age = (options: AgeOptions = {}) => use("encrypt", { id: "age", specifier: "@hypernode/plugins/age" }, options)
