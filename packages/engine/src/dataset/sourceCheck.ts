/** Whether the bytes that are read are the ones that were selected: by the fast tag where there is one, else by the commitment itself. */
import type { SourceRef } from "../stage/values.ts"
import { commitmentOf } from "./readSource.ts"
import { sameTag, sourceTag } from "./sourceTag.ts"

export interface SourceCheck {
  /** every byte of the file, once, in order */
  readonly update: (bytes: Buffer) => void
  /** after the last byte; call it once */
  readonly matches: () => boolean
}

export const sourceCheck = (salt: Buffer, { commitment, tag }: Pick<SourceRef, "commitment" | "tag">): SourceCheck => {
  if (tag === undefined) {
    const whole = commitmentOf(salt)
    return { update: whole.update, matches: () => sameTag(whole.digest(), commitment) }
  }
  const fast = sourceTag(salt)
  return { update: fast.update, matches: () => sameTag(fast.digest(commitment), tag) }
}
