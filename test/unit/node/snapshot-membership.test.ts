/** A replica that was caught up by a snapshot: C-31, B-13. */
import { expect, test } from "vitest"
import type { Message } from "../../../src/consensus/index.ts"
import { encodeFrame } from "../../../src/wire/index.ts"
import { createFakeStorage, FakeDisk } from "../../support/fake-storage.ts"
import { SeededRandom } from "../../support/random.ts"
import { VirtualClock } from "../../support/virtual-clock.ts"
import { clusterId, openReplica, voters } from "./one-replica.ts"

const mark = { index: 10, term: 2, confState: voters(2, 4, 5) }
const from = { peerId: "peer-1", chunk: 0 }
const header = { from: 1, to: 2, term: 2 } as const

async function* oneRow(): AsyncGenerator<readonly [string, string]> {
  yield ["a", "1"]
}

test("C-31, B-13: after a snapshot and a further entry its membership is in force and on disk", async () => {
  const clock = new VirtualClock()
  const sender = createFakeStorage(new FakeDisk({ clock, random: new SeededRandom(1) }))
  await clock.drive(sender.snapshots.create(mark, oneRow()))
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3), clock })
  const message: Message = {
    ...header,
    type: "MsgSnap",
    snapshot: { meta: mark, data: new Uint8Array(0) },
  }
  const frame = encodeFrame({ version: 1, clusterId, incarnation: 0, to: 2, from: 1, message })
  await clock.drive(one.replica.handleSnapshot(frame, sender.snapshots.chunks(10), from))
  await clock.pass(100)
  expect(one.replica.applied).toEqual(mark)
  const entries = [{ term: 2, index: 11, type: "EntryNormal", data: new Uint8Array(0) } as const]
  one.hear({ ...header, type: "MsgApp", index: 10, logTerm: 2, commit: 11, entries })
  await clock.pass(100)
  expect(one.replica.applied.index).toBe(11)
  await clock.drive(one.replica.stop())
  const again = await openReplica({ memberId: 2, disk: one.disk, clock })
  expect(again.replica.status().confState.voters).toEqual([2, 4, 5])
})
