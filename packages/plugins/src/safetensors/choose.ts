/** Which of a training's checkpoints is exported. Pure. */
import type { TrainedCheckpoint } from "@hypernode/engine/stage/values"

/** Undefined where there is none. Equal losses: the later step. Losses that are not numbers never win. */
export const chooseCheckpoint = (checkpoints: ReadonlyArray<TrainedCheckpoint>, how: "best" | "last"): TrainedCheckpoint | undefined => {
  if (how === "last") return checkpoints.toSorted((a, b) => b.step - a.step)[0]
  const evaluated = checkpoints.filter(({ evalLoss }) => Number.isFinite(evalLoss))
  const measure = (checkpoint: TrainedCheckpoint): number => {
    const loss = evaluated.length > 0 ? checkpoint.evalLoss ?? Number.POSITIVE_INFINITY : checkpoint.loss
    return Number.isFinite(loss) ? loss : Number.POSITIVE_INFINITY
  }
  const [best] = (evaluated.length > 0 ? evaluated : checkpoints).toSorted((a, b) => {
    const [x, y] = [measure(a), measure(b)]
    return x < y ? -1 : x > y ? 1 : b.step - a.step
  })
  return best
}
