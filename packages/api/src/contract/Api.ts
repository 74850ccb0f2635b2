/** The whole contract. The daemon serves it, the CLI is a typed client of it, the page imports its types. */
import * as HttpApi from "effect/http-api/HttpApi"
import * as OpenApi from "effect/http-api/OpenApi"
import { AccessGroup, HealthGroup } from "./Access.ts"
import { EndpointsGroup } from "./EndpointsGroup.ts"
import { Guard } from "./Guard.ts"
import { MissionGroup } from "./Mission.ts"
import { PlanGroup } from "./PlanGroup.ts"
import { RunsGroup } from "./Runs.ts"

export class Api extends HttpApi.make("hypernode")
  .add(RunsGroup)
  .add(EndpointsGroup)
  .add(PlanGroup)
  .add(AccessGroup)
  .add(MissionGroup)
  .add(HealthGroup)
  .middleware(Guard)
  .annotateMerge(
    OpenApi.annotations({
      title: "Hypernode AI Deployer",
      version: "1",
      description: "Scripts send an API key as a bearer token. The page uses a session cookie. Errors: { error: { code, message, remedy?, requestId } }.",
      transform: (document) => ({
        ...document,
        components: {
          ...(document["components"] as object | undefined),
          securitySchemes: {
            key: { type: "http", scheme: "bearer", description: "An API key (hyk_...)" },
            session: { type: "apiKey", in: "cookie", name: "hyper_session" }
          }
        },
        security: [{ key: [] }, { session: [] }]
      })
    })
  ) {}
