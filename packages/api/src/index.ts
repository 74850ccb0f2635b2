/** What the composition root needs: the port to implement, the app, the listeners. */
export { type App, type AppOptions, makeApp } from "./App.ts"
export { AuthStore, AuthStoreError } from "./auth/AuthStore.ts"
export { AuthStoreSql } from "./auth/AuthStoreSql.ts"
export { Engine, EngineError, type PlanRequest } from "./Engine.ts"
export type { Access } from "./http/access.ts"
export { ListenError, listenTcp, listenUnix, type TcpOptions } from "./http/listen.ts"
