/** The eight kinds, in the order in which a deployment usually runs them. A user may declare further kinds. */
export const stageKinds = ["select", "encrypt", "shard", "train", "checkpoint", "package", "serve", "reward"] as const
export type StageKind = (typeof stageKinds)[number]
