/** The built page. In the repository it is built the first time somebody serves, and again when its source changed. */
export const uiDirectory = async (): Promise<string | undefined> => {
  try {
    const { ensureUiBuild } = await import("@hypernode/ui/ensure-build")
    return await ensureUiBuild()
  } catch (cause) {
    process.stderr.write(`the page could not be built: ${(cause as Error).message}\n`)
    return undefined
  }
}
