/** Properties of membership changes, and their bytes. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import {
  type ConfChange,
  decodeConfChange,
  encodeConfChange,
} from "../../../src/consensus/index.ts"
import {
  type Changer,
  changeMembership,
  ConfChangeError,
  confStateOf,
  emptyMembership,
  enterJoint,
  isJoint,
  leaveJoint,
  type Membership,
  restoreConfState,
  simple,
} from "../../../src/consensus/membership.ts"

const limits = { maxInflightMsgs: 8, maxInflightBytes: 1 << 20 }

function from(membership: Membership): Changer {
  return { membership, lastIndex: 10, limits }
}

function roles({ progress }: Pick<Membership, "progress">): unknown {
  return [...progress].map(([id, { isLearner }]) => [id, isLearner])
}

const single = fc.record({
  type: fc.constantFrom(
    "ConfChangeAddNode" as const,
    "ConfChangeRemoveNode" as const,
    "ConfChangeUpdateNode" as const,
    "ConfChangeAddLearnerNode" as const,
  ),
  id: fc.integer({ min: 1, max: 6 }),
})
const singles = fc.array(single, { minLength: 1, maxLength: 6 })

/** Somewhere to start from: whatever these changes lead to, one at a time. */
function startOf(changes: ConfChange["changes"]): Membership {
  let membership = simple(from(emptyMembership), [{ type: "ConfChangeAddNode", id: 1 }])
  for (const change of changes) {
    try {
      membership = simple(from(membership), [change])
    } catch (error) {
      // "removed all voters" is the one refusal a single change can get; anything else is a bug.
      if (!(error instanceof ConfChangeError)) throw error
    }
  }
  return membership
}

test("one change at a time, or all in a joint change that is left: the same membership", () => {
  fc.assert(
    fc.property(singles, singles, (before, changes) => {
      const start = startOf(before)
      let joint: Membership
      try {
        joint = enterJoint(from(start), { changes, autoLeave: false })
      } catch (error) {
        expect(error).toBeInstanceOf(ConfChangeError)
        return
      }
      expect(isJoint(joint.config)).toBe(true)
      expect(joint.config.voters.outgoing).toEqual(start.config.voters.incoming)
      let stepwise = start
      for (const change of changes) {
        try {
          stepwise = simple(from(stepwise), [change])
        } catch {
          // On the way every voter may be gone, which only a joint change can pass through.
          return
        }
      }
      expect(confStateOf(leaveJoint(from(joint)).config)).toEqual(confStateOf(stepwise.config))
    }),
  )
})

test("a simple change moves at most one voter", () => {
  fc.assert(
    fc.property(singles, singles, (before, changes) => {
      const start = startOf(before)
      const old = start.config.voters.incoming
      try {
        const { incoming } = simple(from(start), changes).config.voters
        const moved = [...old].filter((id) => !incoming.has(id)).length
        expect(moved + [...incoming].filter((id) => !old.has(id)).length).toBeLessThanOrEqual(1)
        expect(incoming.size).toBeGreaterThan(0)
      } catch (error) {
        expect(error).toBeInstanceOf(ConfChangeError)
      }
    }),
  )
})

test("a refused change leaves everything as it was", () => {
  const start = startOf([{ type: "ConfChangeAddNode", id: 2 }])
  const before = confStateOf(start.config)
  const remove = [1, 2].map((id) => ({ type: "ConfChangeRemoveNode" as const, id }))
  expect(() => simple(from(start), remove)).toThrow("removed all voters")
  expect(confStateOf(start.config)).toEqual(before)
  expect([...start.progress.keys()]).toEqual([1, 2])
})

test("what a snapshot names is restored as it was", () => {
  fc.assert(
    fc.property(singles, singles, fc.boolean(), (before, changes, autoLeave) => {
      let { config, progress } = startOf(before)
      try {
        ;({ config, progress } = enterJoint(from({ config, progress }), { changes, autoLeave }))
      } catch (error) {
        expect(error).toBeInstanceOf(ConfChangeError)
      }
      const restored = restoreConfState({ lastIndex: 10, limits }, confStateOf(config))
      expect(confStateOf(restored.config)).toEqual(confStateOf(config))
      expect(roles(restored)).toEqual(roles({ progress }))
    }),
  )
})

test("a change that only moves one voter needs no joint configuration, unless it asks for one", () => {
  const start = startOf([])
  const add = {
    changes: [{ type: "ConfChangeAddNode", id: 2 }],
    context: new Uint8Array(0),
  } as const
  const change = (transition: ConfChange["transition"]): unknown => {
    const { config } = changeMembership(from(start), { ...add, transition })
    return [isJoint(config), config.autoLeave]
  }
  expect(change("auto")).toEqual([false, false])
  expect(change("implicit")).toEqual([true, true])
  expect(change("explicit")).toEqual([true, false])
})

test("a change survives its bytes; no bytes mean leaving", () => {
  const changes = fc.array(single, { maxLength: 5 })
  const transition = fc.constantFrom("auto" as const, "implicit" as const, "explicit" as const)
  const context = fc.uint8Array({ maxLength: 20 })
  fc.assert(
    fc.property(fc.record({ transition, changes, context }), (change) => {
      expect(decodeConfChange(encodeConfChange(change))).toEqual(change)
    }),
  )
  expect(decodeConfChange(new Uint8Array(0))).toMatchObject({ transition: "auto", changes: [] })
})
