/** What a pipeline file imports. Nothing here loads effect: planning is instant. */
export type { Use } from "./plugin/Plugin.ts"
export { stageKinds, type StageKind } from "./stage/StageKind.ts"
