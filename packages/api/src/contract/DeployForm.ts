/** What the New job page and `POST /api/deploy_model` send. `pipelineSource` turns it into the pipeline file it stands for. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export const DeployForm = Schema.Struct({
  /** of the pipeline: letters, digits and dashes */
  name: Schema.String.check(Schema.isPattern(/^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/, { message: "A name has lower-case letters, digits and dashes, 64 at most" })),
  /** a directory on the machine that runs hyper (`./models/tiny`), or a repository of the hub (`org/name`) */
  model: Schema.String.check(Schema.isPattern(/^\P{Cc}{1,1024}$/u, { message: "Name a model directory or a hub repository" })),
  /** a data file on the machine that runs hyper: JSON lines */
  dataset: Schema.String.check(Schema.isPattern(/^\P{Cc}{1,1024}$/u, { message: "Name a data file" })),
  method: Schema.Literals(["lora", "full"]).pipe(Schema.withDecodingDefaultKey(Effect.succeed("lora" as const))),
  epochs: Schema.Number.check(Schema.isBetween({ minimum: 0.01, maximum: 1000 }, { message: "Epochs is a number from 0.01 to 1000" })).pipe(Schema.withDecodingDefaultKey(Effect.succeed(3))),
  learningRate: Schema.Number.check(Schema.isBetween({ minimum: 1e-9, maximum: 1 }, { message: "Learning rate is a number from 1e-9 to 1" })).pipe(Schema.withDecodingDefaultKey(Effect.succeed(2e-4))),
  workers: Schema.Number.check(Schema.isInt({ message: "Workers is a whole number from 1 to 64" }), Schema.isBetween({ minimum: 1, maximum: 64 }, { message: "Workers is a whole number from 1 to 64" })).pipe(Schema.withDecodingDefaultKey(Effect.succeed(1))),
  /** HYPER put into escrow for the nodes that do the work, as a decimal number */
  pool: Schema.String.check(Schema.isPattern(/^\d{1,9}(?:\.\d{1,9})?$/, { message: "Pool is an amount of HYPER with at most nine decimals, such as 100 or 0.5" })).pipe(Schema.withDecodingDefaultKey(Effect.succeed("100"))),
  sandbox: Schema.Literals(["required", "auto", "none"]).pipe(Schema.withDecodingDefaultKey(Effect.succeed("required" as const))),
  /** `image`: a container image, served in a container; `modelpack`: an OCI artifact, served by a process. Left out: an image where a container engine is present */
  packaging: Schema.optionalKey(Schema.Literals(["image", "modelpack"]))
})
export type DeployForm = typeof DeployForm.Type
export type DeployFormEncoded = typeof DeployForm.Encoded

/** With what was left open decided by what the machine has. */
export const settledForm = (form: DeployForm, machine: { readonly containers: boolean }): DeployForm => ({ ...form, packaging: form.packaging ?? (machine.containers ? "image" : "modelpack") })
