/** The engine's fold for the page: it imports the contract only. */
export { foldEvent } from "@hypernode/engine/run/fold"
