/** Where the gateway's program lies. The engine does not import the API: the composition root hands the path in. */
import * as Context from "effect/Context"

export class GatewayProgram extends Context.Service<
  GatewayProgram,
  {
    /** absolute path of `gateway/main` of the API package (`gatewayProgram` there) */
    readonly path: string
    /** `HYPER_GATEWAY_PORT`: this port or an error; otherwise 8484 or the next that is free */
    readonly port?: number
  }
>()("@hypernode/engine/endpoints/GatewayProgram") {}
