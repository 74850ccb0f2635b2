/**
 * The one shape of an error on the wire: `{ error: { code, message, remedy?, requestId } }`. `code` is for programs and stable,
 * `message` says what is wrong and where, `remedy` what to do next. What is not there and what belongs to another tenant answer alike.
 */
import * as Schema from "effect/Schema"

export const ProblemBody = Schema.Struct({
  code: Schema.String,
  message: Schema.String,
  remedy: Schema.optionalKey(Schema.String),
  requestId: Schema.String
})
export type ProblemBody = typeof ProblemBody.Type

const error = { error: ProblemBody }

export class BadRequest extends Schema.Error<BadRequest>("BadRequest")(error, { httpApiStatus: 400 }) {}
export class Unauthorized extends Schema.Error<Unauthorized>("Unauthorized")(error, { httpApiStatus: 401 }) {}
export class Forbidden extends Schema.Error<Forbidden>("Forbidden")(error, { httpApiStatus: 403 }) {}
export class NotFound extends Schema.Error<NotFound>("NotFound")(error, { httpApiStatus: 404 }) {}
export class Conflict extends Schema.Error<Conflict>("Conflict")(error, { httpApiStatus: 409 }) {}
export class Unprocessable extends Schema.Error<Unprocessable>("Unprocessable")(error, { httpApiStatus: 422 }) {}
export class Internal extends Schema.Error<Internal>("Internal")(error, { httpApiStatus: 500 }) {}
export class Unavailable extends Schema.Error<Unavailable>("Unavailable")(error, { httpApiStatus: 503 }) {}

/** What any endpoint may answer with. */
export const problems = [BadRequest, Unauthorized, Forbidden, NotFound, Conflict, Unprocessable, Internal, Unavailable] as const
export type Problem = BadRequest | Unauthorized | Forbidden | NotFound | Conflict | Unprocessable | Internal | Unavailable
