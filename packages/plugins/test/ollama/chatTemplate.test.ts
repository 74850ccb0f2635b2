import { describe, expect, test } from "vitest"
import { Template } from "@huggingface/jinja"
import { aroundOf, goTemplate, type Message, type Render, renderOf, TemplateFault } from "../../src/ollama/chatTemplate.ts"
import { FIXTURE } from "../serving/world.ts"

const renderer = (source: string, bos = "<s>"): Render => {
  const template = new Template(source)
  return (messages, open) => template.render({ messages: messages.map((message) => ({ ...message })), add_generation_prompt: open, bos_token: bos, eos_token: "</s>" })
}

/** The forms of well-known families, written out from their published models. */
const CHATML = `{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`
const QWEN = `{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}${CHATML}`
const LLAMA3 = `{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}`
const ZEPHYR = `{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}`
const NO_SYSTEM = `{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{{ '<start_of_turn>' + (message['role'] if message['role'] == 'user' else 'model') + '\\n' + message['content'] + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}`

/** As far as the templates made here use Go's text/template: for a check that does not need Ollama (the live test has the real one). */
const asGo = (template: string, messages: ReadonlyArray<Message>): string => {
  const system = messages.some(({ role }) => role === "system")
  return template
    .replace(/^\{\{ if \.System \}\}([^]*?)\{\{ else \}\}([^]*?)\{\{ end \}\}(?=\{\{ range)/, system ? "$1" : "$2")
    .replace(/\{\{ range \.Messages \}\}\{\{ ([^]*)\{\{ end \}\}\{\{ end \}\}/, (_, body: string) =>
      messages.map(({ content, role }) => {
        const part = body.split("{{ else ").find((candidate) => candidate.startsWith(`if eq .Role "${role}" }}`))
        return (part ?? "").replace(/^if eq \.Role "\w+" \}\}/, "").replace("{{ .Content }}", () => content)
      }).join(""))
}

const conversations: ReadonlyArray<ReadonlyArray<Message>> = [
  [{ role: "user", content: "Hi $& there" }],
  [{ role: "user", content: "Hi" }, { role: "assistant", content: "Hello" }, { role: "user", content: "Bye" }],
  [{ role: "system", content: "Be kind" }, { role: "user", content: "Hi" }, { role: "assistant", content: "Hello" }, { role: "user", content: "Bye" }]
]

describe("a chat template for Ollama", () => {
  test.each([["chatml", CHATML], ["qwen", QWEN], ["llama 3", LLAMA3], ["zephyr", ZEPHYR]])("%s: writes what the model's own writes", (_, source) => {
    const render = renderer(source)
    const template = goTemplate(aroundOf(render))
    for (const messages of conversations) expect(asGo(template, messages)).toBe(render(messages, true))
  })

  test("one that knows no system message is left without", () => {
    const render = renderer(NO_SYSTEM)
    const around = aroundOf(render)
    expect(around.system).toBeUndefined()
    for (const messages of conversations.slice(0, 2)) expect(asGo(goTemplate(around), messages)).toBe(render(messages, true))
  })

  test("our own model's", async () => {
    const own = await renderOf(FIXTURE)
    expect(goTemplate(aroundOf(own!.render))).toContain('{{ if eq .Role "user" }}<|user|>{{ .Content }}<|end|>'.slice(2))
  })

  test.each([
    ["numbers its messages", "{% for message in messages %}{{ loop.index }}: {{ message['content'] }}\n{% endfor %}", /message|more than/],
    ["leaves out what came before", "{{ messages[-1]['content'] }}", /once and in order/],
    ["puts the system's words into the question", "{% if messages[0]['role'] == 'system' %}{% set s = messages[0]['content'] %}{% set rest = messages[1:] %}{% else %}{% set s = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}{% if m['role'] == 'user' %}[INST] {% if loop.first and s %}<<{{ s }}>> {% endif %}{{ m['content'] }} [/INST]{% else %}{{ m['content'] }}</s>{% endif %}{% endfor %}", /otherwise than later ones/],
    ["changes what is said", "{% for message in messages %}[{{ message['role'] }}]{{ message['content'] | upper }}{% endfor %}", /once and in order/],
    ["writes braces", "{% for message in messages %}{{ '{{' + message['role'] + '}}' + message['content'] }}{% endfor %}", /action/],
    ["fails", "{{ raise_exception('no') }}", /fails on an ordinary conversation/]
  ])("one that %s is refused, not approximated", (_, source, says) => {
    expect(() => goTemplate(aroundOf(renderer(source)))).toThrow(TemplateFault)
    expect(() => goTemplate(aroundOf(renderer(source)))).toThrow(says)
  })
})
