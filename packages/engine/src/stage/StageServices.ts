/** All that a plugin may ask for: a closed type. */
import type { ArtifactStore } from "../artifact/ArtifactStore.ts"
import type { Containers } from "../capability/Containers.ts"
import type { Endpoints } from "../capability/Endpoints.ts"
import type { Jobs } from "../capability/Jobs.ts"
import type { Sandbox } from "../capability/Sandbox.ts"
import type { Secrets } from "../capability/Secrets.ts"
import type { Keyring } from "../keys/Keyring.ts"
import type { Leases } from "../keys/Leases.ts"
import type { Ledger } from "../rewards/Ledger.ts"
import type { TelemetryStore } from "../telemetry/TelemetryStore.ts"
import type { Progress } from "./Progress.ts"

export type StageServices = ArtifactStore | Containers | Endpoints | Jobs | Keyring | Leases | Ledger | Progress | Sandbox | Secrets | TelemetryStore
