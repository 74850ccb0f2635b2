/**
 * The directory of the built page. In the repository it is built when it is not there or older than its source (a digest of the source
 * decides); a published package carries it built. Rejects with what the build said.
 */
export declare const ensureUiBuild: (options?: { readonly onBuild?: () => void }) => Promise<string>
