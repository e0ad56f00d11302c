/** What every route stands on. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from "fastify"
import type { ZodTypeProvider } from "fastify-type-provider-zod"
import type { Caller, NodeFace } from "../node/index.ts"
import type { Clock, Logger } from "../platform/index.ts"
import type { Waits } from "./waits.ts"

/** The web server, with request and answer types read off the zod schemas of a route. */
export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>

export interface RouteContext {
  readonly face: NodeFace
  readonly clock: Clock
  readonly logger: Logger
  readonly waits: Waits
  /** Largest blob that PUT takes, bytes. */
  readonly blobBytesMax: number
}

/** Until tokens come, everybody is the same caller. */
export const anonymous: Caller = { principal: "anonymous" }

/** A request that is not a stream is answered within this time. */
export const answerLimit = { ms: 30_000, what: "the request" }
