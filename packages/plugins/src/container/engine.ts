/** What a plan and a run say of an engine that will not do. */
export const WITHOUT = "Serve with transformers(), which needs no engine"

export const NOT_LOCAL = "The Docker engine is on another machine, or in a virtual one: the gateway cannot reach its containers"
