import { authStoreSuite } from "./authStoreSuite.ts"
import { MemoryAuthStore } from "./MemoryAuthStore.ts"

authStoreSuite("AuthStore in memory", MemoryAuthStore)
