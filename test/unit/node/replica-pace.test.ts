/** C-45: the ticks of a process that stood still. What was counted before the gap is forgotten, by the core too. */
import { expect, test } from "vitest"
import { timingFrom } from "../../../src/node/index.ts"
import { ReplicaPace } from "../../../src/node/replica-pace.ts"
import { silentLogger } from "../../../src/platform/index.ts"
import { ManualClock } from "../../support/manual-clock.ts"
import { Member } from "../consensus/member.ts"

const timing = timingFrom({ tickMs: 25, heartbeatMs: 100, electionMinMs: 500 })
const { tickMs, electionTicks } = timing

/** Time goes on, and nothing runs. */
class SleepyClock extends ManualClock {
  #slept = 0

  override boottime(): number {
    return super.boottime() + this.#slept
  }

  standStill(ms: number): void {
    this.#slept += ms
  }
}

interface Paced {
  readonly member: Member
  readonly clock: SleepyClock
  readonly gaps: number[]
}

/** Member 2 of three; its timeout is exactly the configured one. */
function pacedMember(): Paced {
  const clock = new SleepyClock()
  const member = new Member(2, { config: { electionTicks, heartbeatTicks: 4 } })
  const gaps: number[] = []
  const pace = new ReplicaPace({
    clock,
    logger: silentLogger,
    timing,
    raft: member.raft,
    isDiskStalled: () => false,
    needs: () => [],
    input: (work) => work(),
    woke: (gapMs) => void gaps.push(gapMs),
  })
  pace.start()
  return { member, clock, gaps }
}

function isFollowing({ member }: Paced): boolean {
  return member.raft.status().raftState === "StateFollower"
}

test("a follower that hears nobody campaigns after its timeout", () => {
  const one = pacedMember()
  one.clock.advance((electionTicks - 1) * tickMs)
  expect(isFollowing(one)).toBe(true)
  one.clock.advance(tickMs)
  expect(isFollowing(one)).toBe(false)
})

test("after it stood still a follower waits for a whole timeout again, whatever it had waited before", () => {
  const one = pacedMember()
  one.clock.advance((electionTicks - 1) * tickMs)
  one.clock.standStill(300)
  one.clock.advance(tickMs)
  expect(one.gaps).toEqual([300])
  one.clock.advance((electionTicks - 1) * tickMs)
  expect(isFollowing(one)).toBe(true)
  one.clock.advance(tickMs)
  expect(isFollowing(one)).toBe(false)
})

test("a tick that is late by less than half of a timeout is one tick", () => {
  const one = pacedMember()
  one.clock.advance((electionTicks - 1) * tickMs)
  one.clock.standStill(250)
  one.clock.advance(tickMs)
  expect(one.gaps).toEqual([])
  expect(isFollowing(one)).toBe(false)
})

test("a leader that stood still counts nobody as active until they answer again", () => {
  const one = pacedMember()
  const { raft } = one.member.lead([1]).acknowledge(1)
  const active = (): (boolean | undefined)[] =>
    [1, 3].map((id) => raft.status().progress.find((peer) => peer.id === id)?.recentActive)
  expect(raft.status().raftState).toBe("StateLeader")
  expect(active()[0]).toBe(true)
  one.clock.standStill(5000)
  one.clock.advance(tickMs)
  expect(active()).toEqual([false, false])
  one.member.acknowledge(3)
  expect(active()).toEqual([false, true])
})
