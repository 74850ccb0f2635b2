/**
 * Entry of the daemon's process, started by any command that needs it. Loads nothing before the pack (`bin/pack.js`), so that all of the
 * daemon can come from it. Usage (internal): main.ts HOME CACHE
 */
const [root, cache] = process.argv.slice(2)
if (root === undefined || cache === undefined) {
  process.stderr.write("usage: main.ts HOME CACHE (hyper starts this itself)\n")
  process.exit(2)
}
const { usePack } = await import("../../bin/pack.js")
await usePack(cache, "daemon")
const [{ daemon }, { homeAt }] = await Promise.all([import("./program.ts"), import("@hypernode/engine/Home")])
await daemon(homeAt(root, cache))
