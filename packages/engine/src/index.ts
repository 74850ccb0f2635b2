/** What a pipeline file imports. Nothing here loads effect: planning is instant. */
export { pipeline, type Builder, type Pipeline, type StepOptions } from "./pipeline/Pipeline.ts"
export { secret } from "./pipeline/secret.ts"
export type { Inputs, Outputs, Wire } from "./pipeline/Wire.ts"
export { pluginFrom, type PluginExport, type PluginFile } from "./plugin/pluginFrom.ts"
export type { Use } from "./plugin/Plugin.ts"
export { use } from "./plugin/use.ts"
export { stageKinds, type StageKind } from "./stage/StageKind.ts"
