import m from "node:module"; m.enableCompileCache()
for (const x of process.argv.slice(2)) await import(x)
if (process.env.LIST) { console.error(process.moduleLoadList?.length) }
