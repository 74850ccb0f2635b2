/** The New job form as text fields, and what each must hold. The server has the last word; these are its rules in its words. */
import type { DeployForm } from "@hypernode/api/types"

export interface Fields {
  name: string
  model: string
  dataset: string
  method: string
  epochs: string
  learningRate: string
  workers: string
  pool: string
  sandbox: string
  /** empty: as the machine has it */
  packaging: string
}

export const startFields: Fields = { name: "", model: "", dataset: "", method: "lora", epochs: "3", learningRate: "2e-4", workers: "1", pool: "100", sandbox: "required", packaging: "" }

const number = (text: string): number => (/^\s*(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*$/i.test(text) ? Number(text) : Number.NaN)

const within = (text: string, low: number, high: number): boolean => number(text) >= low && number(text) <= high

export const checkField = (fields: Fields): Partial<Record<keyof Fields, string>> => {
  const wrong: Partial<Record<keyof Fields, string>> = {}
  if (!/^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/.test(fields.name)) wrong.name = "A name has lower-case letters, digits and dashes, 64 at most"
  if (fields.model.trim() === "") wrong.model = "Name a model directory or a hub repository"
  if (fields.dataset.trim() === "") wrong.dataset = "Name a data file"
  if (!within(fields.epochs, 0.01, 1000)) wrong.epochs = "Epochs is a number from 0.01 to 1000"
  if (!within(fields.learningRate, 1e-9, 1)) wrong.learningRate = "Learning rate is a number from 1e-9 to 1"
  if (!within(fields.workers, 1, 64) || !Number.isInteger(number(fields.workers))) wrong.workers = "Workers is a whole number from 1 to 64"
  if (!/^\d{1,9}(?:\.\d{1,9})?$/.test(fields.pool.trim())) wrong.pool = "Pool is an amount of HYPER with at most nine decimals, such as 100 or 0.5"
  return wrong
}

const or = (value: number, fallback: number): number => (Number.isFinite(value) ? value : fallback)

export const parseForm = (fields: Fields): DeployForm => ({
  name: fields.name,
  model: fields.model.trim(),
  dataset: fields.dataset.trim(),
  method: fields.method === "full" ? "full" : "lora",
  epochs: or(number(fields.epochs), 3),
  learningRate: or(number(fields.learningRate), 2e-4),
  workers: or(number(fields.workers), 1),
  pool: fields.pool.trim(),
  sandbox: fields.sandbox === "auto" ? "auto" : fields.sandbox === "none" ? "none" : "required",
  ...(fields.packaging === "image" || fields.packaging === "modelpack" ? { packaging: fields.packaging } : {})
})
