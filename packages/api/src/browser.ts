/** What the page may load at run time: pure functions without imports of their own, so that it folds and writes exactly as the server does. */
export { foldEvent } from "@hypernode/engine/run/fold"
export { isHubModel, pipelineSource } from "./contract/pipelineSource.ts"
