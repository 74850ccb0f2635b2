/** Types of everything that travels, for the page. Types only: nothing here exists at run time. */
export type { Plan, PlanStep } from "@hypernode/engine/plan/Plan"
export type { Run, RunState, StepState, StepView } from "@hypernode/engine/run/Run"
export type { RunEvent, StoredEvent } from "@hypernode/engine/run/RunEvent"
export type { Endpoint, Exported, Packaged, Sealed, Settlement, Shards, SourceRef, Trained } from "@hypernode/engine/stage/values"
export type { Me } from "./contract/Access.ts"
export type { DeployForm } from "./contract/DeployForm.ts"
export type { ProblemBody } from "./contract/Problem.ts"
export type { Catalogue, CatalogueModel, Cost, Dashboard, EndpointView, ExplanationView, LogChunk, PlanView, Rewards, RunSummary, SampleRow } from "./contract/views.ts"
