/** The image as a Dockerfile and what it copies. Pure: what changes least comes first, so that a new fine-tune adds its weights and nothing else. */
import type { ContextEntry } from "@hypernode/engine/capability/Containers"
import { serverFiles, serverRequirements } from "./ServerSource.ts"

/** One file of a model, as it lies in the artifact store. */
export interface ModelFile {
  readonly path: string
  readonly blob: string
  readonly size: number
}

export interface ImageSource {
  readonly base: string
  readonly install: boolean
  readonly name: string
  readonly maxTokens: number
  readonly model: ReadonlyArray<ModelFile>
  /** a LoRA adapter over `model`, and whether the tokenizer lies with it */
  readonly adapter?: { readonly files: ReadonlyArray<ModelFile>; readonly tokenizer: boolean }
  /** where the model has none: its base's */
  readonly tokenizer?: ReadonlyArray<ModelFile>
}

/** overlay2 takes 128 layers at most, the base's among them. */
const WEIGHT_LAYERS = 64

const isWeight = ({ path }: ModelFile): boolean => path.endsWith(".safetensors")

/** Small files together, weights one layer each while there is room. */
const layersOf = (target: string, files: ReadonlyArray<ModelFile>): { readonly lines: ReadonlyArray<string>; readonly entries: ReadonlyArray<ContextEntry> } => {
  const weights = files.filter(isWeight)
  const groups: Array<ReadonlyArray<ModelFile>> = []
  for (let at = 0; at < weights.length; at++) {
    const slot = Math.min(at, WEIGHT_LAYERS - 1)
    groups[slot] = [...(groups[slot] ?? []), weights[at]!]
  }
  const all = [files.filter((file) => !isWeight(file)), ...groups].filter((group) => group.length > 0)
  return {
    lines: all.map((_, index) => `COPY ${target}/${index}/ /${target}/`),
    entries: all.flatMap((group, index) => group.map(({ blob, path, size }) => ({ path: `${target}/${index}/${path}`, file: blob, size })))
  }
}

export const imageSource = (source: ImageSource): { readonly dockerfile: string; readonly context: ReadonlyArray<ContextEntry> } => {
  const model = layersOf("model", source.model)
  const adapter = source.adapter === undefined ? undefined : layersOf("adapter", source.adapter.files)
  const tokenizer = source.tokenizer === undefined ? undefined : layersOf("tokenizer", source.tokenizer)
  const served = ["--model", "/model", ...(adapter === undefined ? [] : ["--adapter", "/adapter"]), "--tokenizer", tokenizer !== undefined ? "/tokenizer" : source.adapter?.tokenizer === true ? "/adapter" : "/model"]
  const json = (words: ReadonlyArray<string>): string => JSON.stringify(words)
  const lines = [
    `FROM ${source.base}`,
    "ENV PYTHONPATH=/opt/hyper PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONNOUSERSITE=1 HOME=/tmp LANG=C.UTF-8 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false",
    "COPY server/requirements.txt /opt/hyper/requirements.txt",
    // the argument is in the image's history: never an index with a password
    ...(source.install ? ["ARG PIP_EXTRA_INDEX_URL", "RUN python -m pip install --no-cache-dir --disable-pip-version-check -r /opt/hyper/requirements.txt"] : []),
    "COPY server/hyper_serve/ /opt/hyper/hyper_serve/",
    ...(tokenizer?.lines ?? []),
    ...model.lines,
    ...(adapter?.lines ?? []),
    "WORKDIR /tmp",
    "USER 65534:65534",
    "EXPOSE 8000",
    `HEALTHCHECK --interval=15s --timeout=10s --start-period=15m --retries=3 CMD ${json(["python", "-m", "hyper_serve.health"])}`,
    `ENTRYPOINT ${json(["python", "-m", "hyper_serve", ...served, "--name", source.name, "--max-tokens", String(source.maxTokens)])}`,
    `CMD ${json(["--host", "0.0.0.0", "--port", "8000"])}`
  ]
  return {
    dockerfile: `${lines.join("\n")}\n`,
    context: [
      { path: "server/requirements.txt", content: serverRequirements() },
      ...serverFiles().map(({ content, name }) => ({ path: `server/hyper_serve/${name}`, content })),
      ...(tokenizer?.entries ?? []),
      ...model.entries,
      ...(adapter?.entries ?? [])
    ]
  }
}
