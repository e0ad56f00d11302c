/** Random nouns and commands for the codecs. */
import * as fc from "fast-check"
import type { Ending, Member, MemberDeclaration } from "../../../src/schema/index.ts"
import type { Command, ReportItem } from "../../../src/state/index.ts"
import { arbitraryPlan } from "../../support/plans.ts"

export const safe = fc.nat({ max: Number.MAX_SAFE_INTEGER })
export const word = fc.string({ maxLength: 12, unit: "grapheme" })
export const when = fc.nat({ max: 2 ** 42 })
const words = fc.array(word, { maxLength: 3 })
const digest = fc.string({
  unit: fc.constantFrom(...Array.from("0123456789abcdef")),
  minLength: 64,
  maxLength: 64,
})

const maybe = <T>(inner: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(inner, { nil: undefined })
/** A record without its undefined fields: a decoded message has no such field. The codec decides what T is. */
export function sparseRecord<T>(
  shape: Readonly<Record<string, fc.Arbitrary<unknown>>>,
): fc.Arbitrary<T> {
  return fc
    .record(shape)
    .map(
      (value) =>
        Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T,
    )
}

export const declaration: fc.Arbitrary<MemberDeclaration> = fc.record({
  peerId: word,
  name: word,
  addresses: words,
  voter: fc.constantFrom("auto", "never"),
  os: word,
  arch: word,
  cores: safe,
  memoryBytes: safe,
  labels: fc.dictionary(word, word, { maxKeys: 3, noNullPrototype: true }),
  tools: words,
  capacity: safe,
})

export const member: fc.Arbitrary<Member> = fc
  .tuple(declaration, safe, fc.constantFrom("voter", "standby", "worker" as const))
  .map(([declared, id, role]) => ({ ...declared, id, role }))

export const peer = fc.record({ peerId: word, addresses: words })

export const ending = sparseRecord<Ending>({
  outcome: fc.constantFrom("exited", "signalled", "not_started", "unknown", "lost", "done"),
  exitCode: maybe(fc.integer()),
  signal: maybe(word),
  reason: maybe(word),
  stopped: fc.boolean(),
  startedAt: maybe(when),
  endedAt: maybe(when),
})

const taskRef = fc.record({ run: word, group: word, index: safe })
const output = fc.record({ path: word, digest, bytes: safe })

export const reportItem = fc
  .tuple(
    taskRef,
    sparseRecord<Omit<ReportItem, "run" | "group" | "index">>({
      attempt: safe,
      fence: safe,
      state: fc.constantFrom("started", "ready", "ended"),
      at: when,
      ending: maybe(ending),
      outputs: maybe(fc.array(output, { maxLength: 3 })),
      bundle: maybe(
        fc.record({ digest, bytes: safe, files: safe, holders: fc.array(safe, { maxLength: 3 }) }),
      ),
    }),
  )
  .map(([ref, rest]): ReportItem => ({ ...ref, ...rest }))

const placement = fc.record({
  run: word,
  group: word,
  index: safe,
  attempt: safe,
  node: safe,
  lease: safe,
  address: word,
})

const several = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(item, { maxLength: 4 })
const of = (
  type: Command["type"],
  items: fc.Arbitrary<readonly unknown[]>,
): fc.Arbitrary<Command> => items.map((list) => ({ type, items: list }) as Command)

const decided = (kind: string): fc.Arbitrary<object> =>
  fc.record({ kind: fc.constant(kind), task: taskRef, fence: safe, reason: word })

export const command: fc.Arbitrary<Command> = fc.oneof(
  of("genesis", fc.tuple(fc.record({ cluster: word, clusterId: word, founder: declaration }))),
  of("admit", several(declaration)),
  of("declare", several(fc.record({ id: safe, declaration }))),
  of("role", several(fc.record({ id: safe, role: fc.constantFrom("voter", "standby", "worker") }))),
  of(
    "session",
    several(fc.record({ node: safe, boot: word, state: fc.constantFrom("up", "lost") })),
  ),
  of("dissolve", fc.tuple(fc.record({ into: word, peers: several(peer) }))),
  of(
    "submit",
    several(
      fc.record({
        principal: word,
        key: word,
        bodyHash: word,
        entryNode: word,
        // Twice through JSON it stays: the plan is the only part that travels as JSON.
        plan: arbitraryPlan.map((plan) => JSON.parse(JSON.stringify(plan)) as unknown),
        placements: several(placement),
      }),
    ),
  ),
  of("assign", several(placement)),
  of("report", several(reportItem)),
  of(
    "decide",
    several(
      fc.oneof(
        fc.record({ kind: fc.constant("run-timeout"), run: word }),
        fc.record({ kind: fc.constant("unplaceable"), task: taskRef, reason: word }),
        decided("attempt-lost"),
        decided("overdue"),
        decided("drained"),
      ),
    ),
  ),
  of("cancel", several(fc.record({ run: word, reason: word }))),
  of("remove", several(fc.record({ id: fc.nat() }))),
  of("readmit", several(fc.record({ instead: safe, declaration }))),
  of(
    "retry",
    several(
      fc.record({
        run: word,
        how: fc.constantFrom("rerun", "failed"),
        principal: word,
        key: word,
        bodyHash: word,
        entryNode: word,
        plan: arbitraryPlan.map((plan) => JSON.parse(JSON.stringify(plan)) as unknown),
        kept: several(fc.record({ group: word, index: safe, outputs: several(output) })),
      }),
    ),
  ),
  of(
    "cordon",
    several(
      sparseRecord({
        id: safe,
        mode: fc.constantFrom("open", "cordon", "drain"),
        reason: word,
        deadlineAt: maybe(when),
      }),
    ),
  ),
  of("dead", several(fc.record({ id: safe, reason: word }))),
  of("raise", fc.tuple(fc.record({ version: fc.constantFrom(1, 2) }))),
  of("pin", several(fc.record({ run: word, pinned: fc.boolean() }))),
  of(
    "collect",
    several(
      fc.oneof(
        fc.record({ kind: fc.constantFrom("run", "emptied"), run: word }),
        fc.record({ kind: fc.constant("row"), run: word, key: word }),
        fc.record({ kind: fc.constant("key"), key: word, at: when }),
      ),
    ),
  ),
  of(
    "checkpoint",
    fc.tuple(
      fc.oneof(
        fc.record({ kind: fc.constant("measure") }),
        fc.record({ kind: fc.constant("agreed"), index: safe, hash: word }),
      ),
    ),
  ),
)
