/**
 * Identity of the files for the cache key: size, inode, modification and change time, no digest. A bare digest of private data would
 * let anyone with a guess at the data confirm it from the key; and the salted commitment needs the keyring, which a fingerprint has not.
 * The price: a file that was rewritten with equal content is read again.
 */
import { promises as fs } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { isModelFile } from "@hypernode/engine/artifact/ModelFiles"
import { type Options, pathFrom } from "./Options.ts"

/** A missing file has an identity too: that it is missing is said by the stage, with a remedy. */
const identity = (path: string): Promise<string> =>
  fs.stat(path, { bigint: true }).then((s) => `${s.dev}:${s.ino}:${s.size}:${s.mtimeNs}:${s.ctimeNs}`, () => "absent")

export const fingerprint = (options: Options, context: { readonly projectDirectory: string }): Effect.Effect<unknown> =>
  Effect.promise(async () => {
    const model: Record<string, string> = {}
    if (options.model !== undefined) {
      const directory = pathFrom(context.projectDirectory, options.model)
      for (const name of (await fs.readdir(directory).catch(() => [])).filter(isModelFile).toSorted()) model[name] = await identity(join(directory, name))
    }
    return { model, dataset: options.dataset === undefined ? "none" : await identity(pathFrom(context.projectDirectory, options.dataset)) }
  })
