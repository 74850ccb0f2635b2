/**
 * The default Leases: grants and release logs are files of the home, each live grant has a Unix socket. State on disk is enough to go on
 * after a kill -9 (`restore`); tokens are derived, not stored.
 */
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { canonicalJson } from "../artifact/canonicalJson.ts"
import { ArtifactStore } from "../artifact/ArtifactStore.ts"
import { CurrentHome } from "../capability/CurrentHome.ts"
import type { Home } from "../Home.ts"
import type { Segment } from "../stage/values.ts"
import { MAX_HEADER_BYTES, rewrapHeader } from "./age/Header.ts"
import { Keyring } from "./Keyring.ts"
import { type LeaseGrant, LeaseError, Leases } from "./Leases.ts"
import { type GrantRecord, leaseFiles } from "./leases/LeaseFiles.ts"
import { checkRequest, leaseToken, type LeaseRequest, tokenHash } from "./leases/LeaseRequest.ts"
import { forgetLeaseSocket, type LeaseSocket, openLeaseSocket, socketPath } from "./leases/LeaseSocket.ts"
import { appendRelease, GENESIS, rawDigest, readLog, type ReleaseEntry, releaseDigest, verifyReleases } from "./leases/ReleaseLog.ts"

const failure = (what: string) => (cause: unknown): LeaseError =>
  new LeaseError({ message: `${what}: ${cause instanceof Error ? cause.message : String(cause)}` })

const attempt = <A>(what: string, call: () => Promise<A>): Effect.Effect<A, LeaseError> =>
  Effect.uninterruptible(Effect.tryPromise({ try: call, catch: failure(what) }))

const sameLease = (record: GrantRecord, grant: LeaseGrant): boolean =>
  record.runId === grant.runId && record.node === grant.node && canonicalJson(record.shards) === canonicalJson(grant.shards)

export const make = Effect.fnUntraced(function*(home: Home) {
  const artifacts = yield* ArtifactStore
  const keyring = yield* Keyring
  const files = yield* attempt("Preparing the leases of this home", () => leaseFiles(join(home.root, "leases")))
  const run = yield* FiberSet.makeRuntimePromise<never, string>()
  /** one at a time: entries of a log follow each other, and a grant is read, changed and written */
  const lock = yield* Semaphore.make(1)
  const open = new Map<string, LeaseSocket>()
  yield* Effect.addFinalizer(() => Effect.promise(() => Promise.all([...open.values()].map((socket) => socket.close()))))

  const recordOf = (jobId: string) => attempt(`Reading the lease of job ${jobId}`, () => files.read(jobId))
  const write = (record: GrantRecord) => attempt(`Storing the lease of job ${record.jobId}`, () => files.write(record))
  const signer = Effect.mapError(keyring.publicKey("node"), failure("The node key"))
  const secret = keyring.getOrCreate("lease", () => randomBytes(32).toString("base64")).pipe(Effect.mapError(failure("The lease secret")), Effect.map(Redacted.value))

  /** The first bytes of a segment: its header protects itself with a MAC, so the whole file need not be read to check it. */
  const headOf = (segment: Segment) =>
    artifacts.stream(segment.artifact).pipe(
      Stream.mapAccum(() => 0, (sofar, chunk) => [sofar + chunk.length, [{ chunk, sofar }]] as const),
      Stream.takeWhile(({ sofar }) => sofar < MAX_HEADER_BYTES),
      Stream.runCollect,
      Effect.map((parts) => Buffer.concat(parts.map(({ chunk }) => chunk))),
      Effect.mapError(failure(`Segment ${segment.index}`))
    )

  const rewrapped = Effect.fnUntraced(function*(record: GrantRecord, request: LeaseRequest) {
    const { keyId, segments } = record.shards.sealed
    const identity = Redacted.value(yield* Effect.mapError(keyring.get(keyId), failure("The data set's key")))
    return yield* Effect.forEach(request.segments, (index) =>
      Effect.gen(function*() {
        const segment = segments.find((s) => s.index === index)
        if (segment === undefined) return yield* new LeaseError({ message: `Segment ${index} is not part of the sealed data set.` })
        const head = yield* headOf(segment)
        const { header, payloadOffset } = yield* Effect.try({ try: () => rewrapHeader(head, identity, request.recipient), catch: failure(`Segment ${index}`) })
        return { index, header: header.toString("base64"), payloadOffset }
      }))
  })

  const verified = Effect.fnUntraced(function*(record: GrantRecord) {
    const text = yield* attempt(`Reading the releases of job ${record.jobId}`, () => readLog(files.logOf(record.jobId)))
    const expected = { jobId: record.jobId, signer: yield* signer, ...record.released }
    return yield* Effect.try({ try: () => verifyReleases(text, expected), catch: failure(`The release log of job ${record.jobId} was tampered with`) })
  })

  /** On disk before anything leaves. A broken chain is never built upon. */
  const enter = Effect.fnUntraced(function*(record: GrantRecord, request: LeaseRequest, at: number) {
    const entries = yield* verified(record)
    const content = {
      job: record.jobId, run: record.runId, node: record.node, fencingToken: record.fencingToken,
      sequence: entries.length, at, ...request, previous: entries.at(-1)?.digest ?? GENESIS
    }
    const digest = releaseDigest(content)
    const signature = yield* Effect.mapError(keyring.sign("node", rawDigest(digest)), failure("The node key"))
    const entry: ReleaseEntry = { ...content, digest, signer: yield* signer, signature }
    yield* attempt(`Writing the release log of job ${record.jobId}`, () => appendRelease(files.logOf(record.jobId), entry))
    yield* write({ ...record, released: { count: entries.length + 1, head: digest } })
  })

  const answer = (jobId: string, line: string): Effect.Effect<string> =>
    Effect.gen(function*() {
      const record = yield* recordOf(jobId)
      if (record === undefined) return yield* new LeaseError({ message: "the job has no lease" })
      const at = yield* Clock.currentTimeMillis
      const request = checkRequest(line, record, at)
      if ("refusal" in request) return yield* new LeaseError({ message: request.refusal })
      const segments = yield* rewrapped(record, request)
      yield* enter(record, request, at)
      return JSON.stringify({ v: 1, segments })
    }).pipe(
      lock.withPermits(1),
      // once an entry is written its keys go out
      Effect.uninterruptible,
      Effect.catch((error) => Effect.succeed(JSON.stringify({ v: 1, error: error.message })))
    )

  const listen = (jobId: string) =>
    open.has(jobId)
      ? Effect.void
      : Effect.map(attempt(`Opening the lease socket of job ${jobId}`, () => openLeaseSocket(home.sockets, jobId, (line) => run(answer(jobId, line)))), (socket) => void open.set(jobId, socket))

  const shut = (jobId: string) =>
    attempt(`Closing the lease socket of job ${jobId}`, async () => {
      await open.get(jobId)?.close({ forget: true })
      open.delete(jobId)
    })

  const grant = Effect.fn("FileLeases.grant")(function*(wanted: LeaseGrant) {
    const { expiresAt, fencingToken, jobId, node, runId, shards } = wanted
    const before = yield* recordOf(jobId)
    if (before !== undefined && before.fencingToken > fencingToken) {
      return yield* new LeaseError({ message: `Job ${jobId} has a later lease (fencing token ${before.fencingToken}, asked ${fencingToken}): whoever asked has been replaced.` })
    }
    if (before?.fencingToken === fencingToken && !sameLease(before, wanted)) {
      return yield* new LeaseError({ message: `Job ${jobId} was granted other shards under fencing token ${fencingToken}: take a higher one.` })
    }
    const own = yield* secret
    const tokens = shards.slots.map(({ slot }) => leaseToken(own, jobId, fencingToken, slot))
    yield* write({
      v: 1, jobId, runId, node, shards, expiresAt, fencingToken, revoked: false,
      tokenHashes: tokens.map(tokenHash),
      retiredHashes: before === undefined ? [] : before.fencingToken === fencingToken ? before.retiredHashes : [...before.retiredHashes, ...before.tokenHashes],
      released: before?.released ?? { count: 0, head: GENESIS }
    })
    yield* listen(jobId)
    return { socket: socketPath(home.sockets, jobId), tokens }
  }, lock.withPermits(1))

  return Leases.of({
    grant,
    revoke: Effect.fn("FileLeases.revoke")(function*(jobId) {
      const record = yield* recordOf(jobId)
      if (record !== undefined && !record.revoked) yield* write({ ...record, revoked: true })
      yield* shut(jobId)
    }, lock.withPermits(1)),
    restore: Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      for (const record of yield* attempt("Reading the leases of this home", files.all)) {
        if (!record.revoked && record.expiresAt > now) yield* listen(record.jobId)
        else if (!open.has(record.jobId)) yield* attempt(`Removing the socket of job ${record.jobId}`, () => forgetLeaseSocket(home.sockets, record.jobId))
      }
    }).pipe(lock.withPermits(1)),
    releases: Effect.fn("FileLeases.releases")(function*(jobId) {
      const record = yield* recordOf(jobId)
      if (record === undefined) return yield* new LeaseError({ message: `Job ${jobId} never had a lease here.` })
      return (yield* verified(record)).map(({ at, recipient, segments, slot }) => ({ at, slot, segments, recipient }))
    }, lock.withPermits(1))
  })
})

/** Sockets close with the layer; grants stay for `restore`. */
export const layer = Layer.effect(Leases, Effect.flatMap(CurrentHome, make))
