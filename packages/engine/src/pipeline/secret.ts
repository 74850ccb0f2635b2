/** A secret by name. The plan holds `{ $secret: name }`; the value is looked up inside the step and never enters the plan. */
import type { SecretRef } from "../capability/Secrets.ts"
import { PipelineError } from "./PipelineError.ts"

export const secret = (name: string): SecretRef => {
  if (typeof name !== "string" || !/^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/.test(name)) {
    throw new PipelineError("secrets", `secret(${JSON.stringify(name)}) is not a secret's name`, 'use letters, digits and _ . -, for example secret("HF_TOKEN")')
  }
  return { $secret: name }
}
