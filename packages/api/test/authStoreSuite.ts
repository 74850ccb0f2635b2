/** What every AuthStore promises. Run on the in-memory one and on the SQL one. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { TestClock } from "effect/testing"
import { AuthStore, LINK_MILLIS, SESSION_MILLIS } from "../src/auth/AuthStore.ts"

export const authStoreSuite = (name: string, layer: Layer.Layer<AuthStore>) =>
  describe(name, () => {
    // One tenant each, so that the tests may share a database.
    let n = 0
    const tenant = () => `tenant-${process.pid}-${n++}`

    it.effect("a link opens one session, of its tenant", () =>
      Effect.gen(function*() {
        const store = yield* AuthStore
        const mine = tenant()
        const link = yield* store.createLink(mine, "owner")
        const session = yield* store.redeem(link.token)
        assert.deepStrictEqual(yield* store.session(session!.token), { tenant: mine, by: "owner", scopes: ["read", "write", "admin"] })
        assert.isUndefined(yield* store.redeem(link.token))
        yield* store.endSession(session!.token)
        assert.isUndefined(yield* store.session(session!.token))
      }).pipe(Effect.provide(layer)))

    it.effect("of many who use one link at once, one gets in", () =>
      Effect.gen(function*() {
        const store = yield* AuthStore
        const link = yield* store.createLink(tenant(), "owner")
        const sessions = yield* Effect.all(Array.from({ length: 12 }, () => store.redeem(link.token)), { concurrency: "unbounded" })
        assert.strictEqual(sessions.filter((session) => session !== undefined).length, 1)
      }).pipe(Effect.provide(layer)))

    it.effect("links end after ten minutes, sessions after thirty days", () =>
      Effect.gen(function*() {
        const store = yield* AuthStore
        const late = yield* store.createLink(tenant(), "owner")
        const inTime = yield* store.createLink(tenant(), "owner")
        yield* TestClock.adjust(LINK_MILLIS - 1)
        const session = yield* store.redeem(inTime.token)
        assert.isDefined(session)
        yield* TestClock.adjust(1)
        assert.isUndefined(yield* store.redeem(late.token))
        yield* TestClock.adjust(SESSION_MILLIS - 2)
        assert.isDefined(yield* store.session(session!.token))
        yield* TestClock.adjust(2)
        assert.isUndefined(yield* store.session(session!.token))
      }).pipe(Effect.provide(layer)))

    it.effect("keys carry their scopes, belong to a tenant, and end when revoked", () =>
      Effect.gen(function*() {
        const store = yield* AuthStore
        const [mine, theirs] = [tenant(), tenant()]
        const made = yield* store.createKey(mine, "ci", ["write", "read"])
        assert.deepStrictEqual(yield* store.key(made.key), { tenant: mine, by: "key ci", scopes: ["read", "write"] })
        assert.isUndefined(yield* store.key(`${made.key}x`))
        assert.deepStrictEqual((yield* store.keys(mine)).map(({ hint, id, name }) => ({ hint, id, name })), [{ hint: made.key.slice(0, 9), id: made.id, name: "ci" }])
        assert.deepStrictEqual(yield* store.keys(theirs), [])
        assert.isFalse(yield* store.revokeKey(theirs, made.id))
        assert.isTrue(yield* store.revokeKey(mine, made.id))
        assert.isFalse(yield* store.revokeKey(mine, made.id))
        assert.isUndefined(yield* store.key(made.key))
        assert.deepStrictEqual(yield* store.keys(mine), [])
      }).pipe(Effect.provide(layer)))

    it.effect("what is no token of that kind opens nothing", () =>
      Effect.gen(function*() {
        const store = yield* AuthStore
        const link = yield* store.createLink(tenant(), "owner")
        assert.isUndefined(yield* store.session(link.token))
        assert.isUndefined(yield* store.key(link.token))
        assert.isUndefined(yield* store.redeem("' OR '1'='1"))
      }).pipe(Effect.provide(layer)))
  })
