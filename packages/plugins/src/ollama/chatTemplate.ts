/**
 * A model's chat template (Jinja, as it was trained with) as a template of Ollama's (Go's text/template). No general translation: the
 * Jinja one is rendered over marked conversations, what stands around each message is read off, and the result must then write other
 * conversations exactly as the Jinja one does. A template that does more than that is refused rather than approximated, because a model
 * that is asked in another form than it was trained with answers worse, and nothing says so.
 */
import { readFile } from "node:fs/promises"
import { join } from "node:path"

export interface Message {
  readonly role: "system" | "user" | "assistant"
  readonly content: string
}

/** What a conversation is written as; `open`: up to where the assistant's next answer begins. */
export type Render = (messages: ReadonlyArray<Message>, open: boolean) => string

/** What stands before and after a message of each role, before all of them (with and without a system message), and before the answer. */
export interface Around {
  readonly head: string
  /** where no system message is given: some templates put in their own */
  readonly headAlone: string
  readonly system?: readonly [before: string, after: string]
  readonly user: readonly [before: string, after: string]
  readonly assistant: readonly [before: string, after: string]
  readonly answer: string
}

/** Not derivable, in a sentence. */
export class TemplateFault extends Error {}

const S = "Xs9q", U = "Xu9q", A = "Xa9q", V = "Xv9q"
const user = (content: string): Message => ({ role: "user", content })
const assistant = (content: string): Message => ({ role: "assistant", content })
const system = (content: string): Message => ({ role: "system", content })

/** The pieces between the marks, which must stand in this order and once. */
const between = (text: string, ...marks: ReadonlyArray<string>): ReadonlyArray<string> => {
  const pieces: Array<string> = []
  let at = 0
  for (const mark of marks) {
    const next = text.indexOf(mark, at)
    if (next < 0 || text.indexOf(mark, next + 1) >= 0) throw new TemplateFault("it does not write every message once and in order")
    pieces.push(text.slice(at, next))
    at = next + mark.length
  }
  return [...pieces, text.slice(at)]
}

const without = (text: string, prefix: string): string => {
  if (!text.startsWith(prefix)) throw new TemplateFault("what it writes after a message depends on what follows")
  return text.slice(prefix.length)
}

const written = (around: Around, messages: ReadonlyArray<Message>, open: boolean): string =>
  (messages.some(({ role }) => role === "system") ? around.head : around.headAlone) +
  messages.map(({ content, role }) => (around[role]?.[0] ?? "") + content + (around[role]?.[1] ?? "")).join("") +
  (open ? around.answer : "")

/** Throws TemplateFault. */
export const aroundOf = (render: Render): Around => {
  const attempt = (messages: ReadonlyArray<Message>, open: boolean): string => {
    try {
      return render(messages, open)
    } catch (error) {
      throw new TemplateFault(`it fails on an ordinary conversation (${(error as Error).message.slice(0, 200)})`)
    }
  }
  const [headUser = "", userAfter = ""] = between(attempt([user(U)], false), U)
  const answer = without(between(attempt([user(U)], true), U)[1] ?? "", userAfter)
  const [, toAnswer = "", toNext = ""] = between(attempt([user(U), assistant(A), user(V)], false), U, A, V)
  const [, , answerAfter = ""] = between(attempt([user(U), assistant(A)], false), U, A)
  const userBefore = without(toNext, answerAfter)
  if (!headUser.endsWith(userBefore)) throw new TemplateFault("it writes the first message otherwise than later ones")
  const headAlone = headUser.slice(0, headUser.length - userBefore.length)
  const around = { headAlone, user: [userBefore, userAfter] as const, assistant: [without(toAnswer, userAfter), answerAfter] as const, answer }
  let whole: Around = { ...around, head: headAlone }
  try {
    const [before = "", after = ""] = between(attempt([system(S), user(U)], false), S, U)
    if (!after.endsWith(userBefore)) throw new TemplateFault("it writes a message after the system's otherwise than later ones")
    whole = { ...around, head: "", system: [before, after.slice(0, after.length - userBefore.length)] }
  } catch (error) {
    // one that knows no system message says so by failing; it is left without
    if (!(error instanceof TemplateFault) || !error.message.startsWith("it fails")) throw error
  }
  const others: ReadonlyArray<ReadonlyArray<Message>> = [
    [user("What are\nyour hours?")],
    [user("Hello."), assistant("Hello! How can I help?"), user("Are you open {on} Monday?"), assistant("Yes: from 9."), user("Thanks")],
    ...(whole.system === undefined ? [] : [[system("Be short."), user("Hi")], [system("Be short."), user("Hi"), assistant("Hi."), user("Bye")]])
  ]
  for (const messages of others) {
    if (written(whole, messages, true) !== attempt(messages, true)) throw new TemplateFault("it does more than write each message between fixed words")
  }
  return whole
}

/** As Go's text/template has it: words stand as they are, so they may not look like an action. */
export const goTemplate = (around: Around): string => {
  const words = [around.head, around.headAlone, around.answer, ...(around.system ?? []), ...around.user, ...around.assistant]
  if (words.some((word) => word.includes("{{"))) throw new TemplateFault("it writes {{, which is an action in Ollama's templates")
  const part = (role: string, [before, after]: readonly [string, string]): string => `if eq .Role "${role}" }}${before}{{ .Content }}${after}`
  const parts = [...(around.system === undefined ? [] : [part("system", around.system)]), part("user", around.user), part("assistant", around.assistant)]
  const head = around.head === around.headAlone ? around.head : `{{ if .System }}${around.head}{{ else }}${around.headAlone}{{ end }}`
  return `${head}{{ range .Messages }}{{ ${parts.join("{{ else ")}{{ end }}{{ end }}${around.answer}`
}

const readJson = async (path: string): Promise<Readonly<Record<string, unknown>>> => {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Readonly<Record<string, unknown>>
  } catch {
    return {}
  }
}

const tokenText = (token: unknown): string => (typeof token === "string" ? token : typeof token === "object" && token !== null && "content" in token ? String(token.content) : "")

/** Of a tokenizer's directory; undefined where it has no chat template. Throws TemplateFault for one that cannot be parsed. */
export const renderOf = async (directory: string): Promise<{ readonly render: Render; readonly bos: string } | undefined> => {
  const config = await readJson(join(directory, "tokenizer_config.json"))
  const inConfig = Array.isArray(config["chat_template"]) ? (config["chat_template"] as ReadonlyArray<{ readonly name: string; readonly template: string }>).find(({ name }) => name === "default")?.template : config["chat_template"]
  const source = await readFile(join(directory, "chat_template.jinja"), "utf8").catch(() => inConfig ?? readJson(join(directory, "chat_template.json")).then((json) => json["chat_template"]))
  if (typeof source !== "string") return undefined
  const { Template } = await import("@huggingface/jinja")
  const bos = tokenText(config["bos_token"])
  let template: InstanceType<typeof Template>
  try {
    template = new Template(source)
  } catch (error) {
    throw new TemplateFault(`it cannot be read (${(error as Error).message.slice(0, 200)})`)
  }
  return {
    bos,
    render: (messages, open) => template.render({ messages: messages.map((message) => ({ ...message })), add_generation_prompt: open, bos_token: bos, eos_token: tokenText(config["eos_token"]), pad_token: tokenText(config["pad_token"]), unk_token: tokenText(config["unk_token"]) })
  }
}
