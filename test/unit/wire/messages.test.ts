/** ctl, join and job messages: each comes back as it was; anything else is a CodecError. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { CodecError } from "../../../src/lib/index.ts"
import {
  type AttemptSummary,
  ctlAnswer,
  ctlBodyBytesMax,
  type CtlRequest,
  ctlRequest,
  type Hello,
  type JobAnswer,
  jobAnswer,
  type JobRequest,
  jobRequest,
  type JoinAnswer,
  joinAnswer,
  type JoinRequest,
  joinRequest,
  type MessageCodec,
  messageVersion,
  outputsMax,
  type TailPiece,
  type TailStream,
} from "../../../src/wire/index.ts"
import {
  declaration,
  ending,
  member,
  peer,
  reportItem,
  safe,
  sparseRecord,
  when,
  word,
} from "./arbitrary.ts"

const maybe = <T>(inner: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(inner, { nil: undefined })
const some = <T>(inner: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(inner, { maxLength: 3 })
const json = fc
  .jsonValue({ maxDepth: 2 })
  .map((value) => JSON.parse(JSON.stringify(value)) as unknown)
const tagged = <T>(type: string, shape: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<T> =>
  sparseRecord<T>({ type: fc.constant(type), ...shape })

const hello = sparseRecord<Hello>({
  cluster: word,
  clusterId: maybe(word),
  pristine: fc.boolean(),
  memberId: maybe(safe),
  members: safe,
  declaration,
  leaderPeer: maybe(peer),
  redirects: some(
    fc.oneof(
      fc.record({ from: word, into: word }),
      fc.record({ from: word, into: word, index: safe }),
    ),
  ),
  startedAt: maybe(when),
  expect: maybe(safe),
  seekers: some(peer),
})
const summary = sparseRecord<AttemptSummary>({
  run: word,
  task: word,
  attempt: safe,
  fence: safe,
  state: fc.constantFrom("accepted", "started", "ready", "ended"),
  startedAt: maybe(when),
  readyAt: maybe(when),
  ending: maybe(ending),
})
const attempt = { run: word, task: word, fence: safe }
const order = { clusterId: word, term: safe }
const stream = fc.constantFrom("stdout", "stderr")

const kinds: readonly (readonly [string, MessageCodec<never>, fc.Arbitrary<unknown>])[] = [
  [
    "ctl request",
    ctlRequest as MessageCodec<never>,
    sparseRecord<CtlRequest>({
      op: word,
      hops: fc.nat(2),
      principal: word,
      key: maybe(word),
      body: json,
    }),
  ],
  ["ctl answer", ctlAnswer as MessageCodec<never>, json],
  [
    "join request",
    joinRequest as MessageCodec<never>,
    fc.oneof(tagged<JoinRequest>("hello", { hello }), tagged<JoinRequest>("join", { declaration })),
  ],
  [
    "join answer",
    joinAnswer as MessageCodec<never>,
    fc.oneof(
      tagged<JoinAnswer>("hello", { hello }),
      tagged<JoinAnswer>("admitted", {
        clusterId: word,
        cluster: word,
        memberId: safe,
        members: some(member),
        leader: safe,
      }),
      tagged<JoinAnswer>("redirect", { peers: some(peer) }),
      tagged<JoinAnswer>("refused", { reason: word }),
    ),
  ],
  [
    "job request",
    jobRequest as MessageCodec<never>,
    fc.oneof(
      tagged<JobRequest>("lease", {
        ...order,
        leader: safe,
        leaderPeer: peer,
        lease: safe,
        ttlMs: safe,
        rosterIndex: safe,
        members: maybe(some(member)),
        pace: maybe(fc.record({ electionMs: safe, reason: word, boot: word })),
      }),
      tagged<JobRequest>("start", {
        ...order,
        ...attempt,
        lease: safe,
        attempt: safe,
        launch: json,
      }),
      tagged<JobRequest>("stop", { ...order, ...attempt, graceMs: safe, reason: word }),
      tagged<JobRequest>("forget", {
        ...order,
        attempts: some(fc.record(attempt)),
        files: fc.boolean(),
      }),
      tagged<JobRequest>("report", {
        clusterId: word,
        memberId: safe,
        boot: word,
        items: some(reportItem),
      }),
      tagged<JobRequest>("readLog", { ...attempt, stream, offset: safe, max: safe, waitMs: safe }),
      tagged<JobRequest>("tail", {
        run: word,
        streams: some(
          sparseRecord<TailStream>({
            task: word,
            attempt: safe,
            fence: safe,
            stream,
            offset: maybe(safe),
            since: maybe(when),
            lines: maybe(safe),
          }),
        ),
        max: safe,
        waitMs: safe,
      }),
    ),
  ],
  [
    "job answer",
    jobAnswer as MessageCodec<never>,
    fc.oneof(
      tagged<JobAnswer>("refused", { reason: word, term: safe }),
      tagged<JobAnswer>("lease", {
        boot: word,
        memberId: safe,
        rosterIndex: safe,
        attempts: some(summary),
        facts: maybe(fc.constant({ load1: 0.5 })),
      }),
      tagged<JobAnswer>("start", { attempt: summary }),
      tagged<JobAnswer>("stop", { known: fc.boolean() }),
      tagged<JobAnswer>("forget", {}),
      tagged<JobAnswer>("report", { accepted: some(safe) }),
      tagged<JobAnswer>("readLog", {
        data: fc.uint8Array({ maxLength: 50 }),
        size: safe,
        ended: fc.boolean(),
      }),
      tagged<JobAnswer>("tail", {
        at: when,
        pieces: some(
          sparseRecord<TailPiece>({
            place: safe,
            state: fc.constantFrom("live", "ended", "absent", "removed"),
            offset: safe,
            data: fc.uint8Array({ maxLength: 50 }),
            size: safe,
            points: some(fc.record({ bytes: safe, at: when })),
            removedAt: maybe(when),
          }),
        ),
      }),
    ),
  ],
]

test.each(kinds)("every %s comes back as it was", (_, codec, values) => {
  fc.assert(
    fc.property(values, (value) => {
      expect(codec.decode(codec.encode(value as never))).toEqual(value)
    }),
    { numRuns: 200 },
  )
})

test.each(kinds)("a damaged %s is a message or a CodecError", (_, codec, values) => {
  const damaged = fc.tuple(values, fc.nat(), fc.nat(255)).map(([value, place, byte]) => {
    const data = codec.encode(value as never)
    data[place % data.length] = byte
    return data
  })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), damaged), (data) => {
      try {
        codec.decode(data)
      } catch (error) {
        expect(error).toBeInstanceOf(CodecError)
      }
    }),
    { numRuns: 500 },
  )
})

test.each(kinds)("a %s of another version is refused", (_, codec, values) => {
  const [value] = fc.sample(values, 1)
  const data = codec.encode(value as never)
  expect(() => codec.decode(data.with(0, messageVersion + 1))).toThrow(/of version/)
})

test("a report names at most ten thousand outputs", () => {
  const output = { path: "f", digest: "ab".repeat(32), bytes: 1 }
  const report = (count: number): Uint8Array =>
    jobRequest.encode({
      type: "report",
      clusterId: "c",
      memberId: 1,
      boot: "b",
      items: [
        {
          run: "r-1",
          group: "g",
          index: 0,
          attempt: 1,
          fence: 1,
          state: "ended",
          at: 1,
          outputs: Array.from({ length: count }, () => output),
        },
      ],
    })
  expect(jobRequest.decode(report(outputsMax)).type).toBe("report")
  expect(() => report(outputsMax + 1)).toThrow(CodecError)
})

test("a ctl body has at most eight MiB", () => {
  // Two bytes are the quotes.
  expect(ctlAnswer.encode("x".repeat(ctlBodyBytesMax - 2)).length).toBeGreaterThan(ctlBodyBytesMax)
  expect(() => ctlAnswer.encode("x".repeat(ctlBodyBytesMax - 1))).toThrow(CodecError)
})

test("an answer of nothing is null", () => {
  expect(ctlAnswer.decode(ctlAnswer.encode(undefined))).toBeNull()
})
