/** What a person finds to choose from when starting a job here: model directories and data files of the project, hub models known to fit, own results. */
import type { Catalogue, CatalogueModel } from "@hypernode/api/contract/views"
import type { Run } from "@hypernode/engine/run/Run"
import type { Exported, Packaged } from "@hypernode/engine/stage/values"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join, relative } from "node:path"

/** Small instruct models with safetensors, a chat template and a free licence. Fetched when first used. */
const hub: ReadonlyArray<CatalogueModel> = [
  { model: "HuggingFaceTB/SmolLM2-135M-Instruct", name: "SmolLM2 135M Instruct", source: "hub", parameters: 134_515_008, license: "apache-2.0" },
  { model: "HuggingFaceTB/SmolLM2-1.7B-Instruct", name: "SmolLM2 1.7B Instruct", source: "hub", parameters: 1_711_376_384, license: "apache-2.0" },
  { model: "Qwen/Qwen2.5-0.5B-Instruct", name: "Qwen2.5 0.5B Instruct", source: "hub", parameters: 494_032_768, license: "apache-2.0" },
  { model: "mistralai/Mistral-7B-Instruct-v0.3", name: "Mistral 7B Instruct v0.3", source: "hub", parameters: 7_248_023_552, license: "apache-2.0" }
]

const directories = (path: string): Array<string> => {
  try {
    return readdirSync(path, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? [join(path, e.name)] : []))
  } catch {
    return []
  }
}

const asPath = (project: string, path: string): string => `./${relative(project, path).replaceAll("\\", "/")}`

const localModels = (project: string): Array<CatalogueModel> =>
  ["models", "fixtures/models"].flatMap((folder) =>
    directories(join(project, folder)).flatMap((path) => {
      if (!existsSync(join(path, "config.json"))) return []
      const weights = readdirSync(path).filter((name) => name.endsWith(".safetensors"))
      if (weights.length === 0) return []
      const licence = /^license:\s*(\S+)/m.exec(existsSync(join(path, "README.md")) ? readFileSync(join(path, "README.md"), "utf8").slice(0, 4096) : "")?.[1]
      return [
        {
          model: asPath(project, path),
          name: path.split("/").at(-1) as string,
          source: "local" as const,
          bytes: weights.reduce((sum, name) => sum + statSync(join(path, name)).size, 0),
          cached: true,
          ...(licence === undefined ? {} : { license: licence })
        }
      ]
    })
  )

const dataFiles = (project: string): Catalogue["datasets"] =>
  [".", "data", "fixtures/data"].flatMap((folder) => {
    try {
      return readdirSync(join(project, folder), { withFileTypes: true }).flatMap((e) => {
        if (!e.isFile() || !e.name.endsWith(".jsonl")) return []
        const path = join(project, folder, e.name)
        return [{ dataset: asPath(project, path), name: e.name, bytes: statSync(path).size }]
      })
    } catch {
      return []
    }
  })

const own = (runs: ReadonlyArray<Run>): Array<CatalogueModel> => {
  const seen = new Set<string>()
  return runs.flatMap((run) => {
    const packaged = run.steps.find((s) => s.kind === "package")?.output as Packaged | undefined
    if (packaged === undefined || seen.has(packaged.digest)) return []
    seen.add(packaged.digest)
    const exported = run.steps.find((s) => s.kind === "checkpoint")?.output as Exported | undefined
    return [
      {
        model: packaged.digest,
        name: packaged.name,
        source: "own" as const,
        bytes: packaged.size,
        runId: run.id,
        digest: packaged.digest,
        ...(exported === undefined ? {} : { base: exported.base.name, loss: exported.loss, ...(exported.evalLoss === undefined ? {} : { evalLoss: exported.evalLoss }) })
      }
    ]
  })
}

export const catalogue = (project: string, runs: ReadonlyArray<Run>): Catalogue => ({ models: [...own(runs), ...localModels(project), ...hub], datasets: dataFiles(project) })
