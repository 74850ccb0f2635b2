/** The two row formats, and what is wrong with a row: a phrase without any of its content. */
import type { SourceRef } from "../stage/values.ts"

export type DataFormat = SourceRef["format"]

const roles = ["system", "developer", "user", "assistant", "tool"]
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === "object" && value !== null && !Array.isArray(value)

/** By its keys; undefined where the row is neither. */
export const formatOf = (row: unknown): DataFormat | undefined => (!isObject(row) ? undefined : "messages" in row ? "chat" : "text" in row ? "text" : undefined)

const chatFault = (row: Readonly<Record<string, unknown>>): string | undefined => {
  const messages = row["messages"]
  if (messages === undefined) return 'the row has no "messages" (chat rows are {"messages": [{"role": ..., "content": ...}, ...]})'
  if (!Array.isArray(messages) || messages.length === 0) return '"messages" must be a list with at least one message'
  for (const [i, message] of messages.entries()) {
    if (!isObject(message)) return `messages[${i}] must be an object with "role" and "content"`
    if (typeof message["role"] !== "string" || !roles.includes(message["role"])) return `messages[${i}].role must be one of ${roles.join(", ")}`
    if (typeof message["content"] !== "string") return `messages[${i}].content must be text`
  }
  if (!messages.some((message) => message.role === "assistant")) return "no message has the role assistant, so there is nothing to learn"
  return undefined
}

const textFault = (row: Readonly<Record<string, unknown>>): string | undefined => {
  const text = row["text"]
  if (text === undefined) return 'the row has no "text" (text rows are {"text": "..."})'
  if (typeof text !== "string") return '"text" must be text'
  if (text === "") return '"text" is empty'
  return undefined
}

export type ParsedRow =
  | { readonly row: Readonly<Record<string, unknown>>; readonly format: DataFormat; readonly fault?: never }
  | { readonly fault: string }

/** `format` undefined: found from the row itself. */
export const parseRow = (json: string, format: DataFormat | undefined): ParsedRow => {
  let row: unknown
  try {
    row = JSON.parse(json)
  } catch {
    // the parser's own message quotes the input: not repeated here
    return { fault: "the row is not JSON" }
  }
  if (!isObject(row)) return { fault: "the row is not a JSON object" }
  const as = format ?? formatOf(row)
  if (as === undefined) return { fault: 'the row has neither "messages" (chat) nor "text"' }
  const fault = as === "chat" ? chatFault(row) : textFault(row)
  return fault === undefined ? { row, format: as } : { fault }
}
