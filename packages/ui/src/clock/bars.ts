/** What the timeline's upper part shows: one row per attempt, and the bands in which nothing was learnt. */
import type { Run } from "@hypernode/api/types"
import type { Resume } from "../live/series.ts"
import { count, duration } from "../words/format.ts"

export interface Bar {
  readonly label: string
  readonly from: number
  readonly to: number
  readonly kind: "ink" | "live" | "ended" | "failed" | "cached"
  readonly text: string
}

export interface Band {
  readonly from: number
  readonly to: number
  readonly title: string
  readonly detail: string
}

export const barsOf = (run: Run, resumes: ReadonlyArray<Resume>, now: number): ReadonlyArray<Bar> =>
  run.steps.flatMap((step): Array<Bar> => {
    if (step.state === "cached") return [{ label: step.id, from: step.startedAt ?? run.createdAt, to: step.endedAt ?? run.createdAt, kind: "cached", text: "from cache" }]
    const many = step.attempts.length > 1
    return step.attempts.map((attempt, i) => {
      const open = attempt.endedAt === undefined
      const to = attempt.endedAt ?? run.endedAt ?? now
      const length = duration(to - attempt.startedAt)
      const resume = resumes.find((one) => one.to >= attempt.startedAt && one.to <= to)
      const failed = attempt.outcome === "failed"
      const last = i === step.attempts.length - 1
      return {
        label: many ? `${step.id} ${attempt.attempt}` : step.id,
        from: attempt.startedAt,
        to,
        kind: failed ? (last && step.state === "failed" ? "failed" : "ended") : open && run.endedAt === undefined ? "live" : open ? "ended" : "ink",
        text: failed
          ? `${many ? `attempt ${attempt.attempt}, ` : ""}${length}, ended: ${attempt.message ?? "failed"}`
          : many
          ? `attempt ${attempt.attempt}, ${length}${resume === undefined ? "" : `, from step ${count(resume.step)}`}`
          : length
      }
    })
  })

export const bandsOf = (run: Run, resumes: ReadonlyArray<Resume>): ReadonlyArray<Band> => {
  const gaps = run.steps.flatMap((step) =>
    step.attempts.slice(1).flatMap((attempt, i) => {
      const before = step.attempts[i]!
      return before.endedAt === undefined ? [] : [{ from: before.endedAt, to: attempt.startedAt, title: `Attempt ${attempt.attempt}`, detail: "" }]
    })
  )
  const resumed = resumes.map((one) => ({
    from: one.from,
    to: one.to,
    title: `Resumed from step ${count(one.step)}`,
    detail: one.again > 0 ? `${count(one.again)} step${one.again === 1 ? "" : "s"} run again` : "no step runs again"
  }))
  // Where both speak of the same pause, the one that knows the step has the word.
  return [...resumed, ...gaps.filter((gap) => !resumed.some((one) => one.from <= gap.to && gap.from <= one.to))]
}
