/** C-32: a snapshot on its way between two replicas, over streams that break, stall, or whose source cannot be read. */
import { expect, test } from "vitest"
import type { Message } from "../../../src/consensus/index.ts"
import type { ByteStream, Mesh } from "../../../src/node/index.ts"
import { createSnapshotSender, serveSnapshot } from "../../../src/node/snapshots.ts"
import { silentLogger } from "../../../src/platform/index.ts"
import { TroupeError } from "../../../src/schema/index.ts"
import type { SnapshotStore } from "../../../src/storage/index.ts"
import type { Row } from "../../../src/wire/index.ts"
import { encodeFrame } from "../../../src/wire/index.ts"
import { collect } from "../../contract/storage/machines.ts"
import { createFakeStorage, FakeDisk } from "../../support/fake-storage.ts"
import { FakePipe } from "../../support/fake-stream.ts"
import { markAt } from "../../support/log-samples.ts"
import { SeededRandom } from "../../support/random.ts"
import { VirtualClock } from "../../support/virtual-clock.ts"

const rows: Row[] = Array.from({ length: 900 }, (_, number) => [`k${number}`, "v".repeat(1000)])
const meta = markAt(9)
const message: Message = {
  type: "MsgSnap",
  to: 2,
  from: 1,
  term: 1,
  snapshot: { meta, data: new Uint8Array(0) },
}
const frame = (boot: number) => (one: Message) =>
  encodeFrame({ version: 1, clusterId: "c", incarnation: 0, to: 2, from: 1, boot, message: one })

interface Way {
  readonly clock: VirtualClock
  readonly sender: SnapshotStore
  readonly receiver: SnapshotStore
  /** Writes of the sender, of all tries. */
  readonly written: Uint8Array[]
  /** A write of the sender after this many of one try breaks the stream. */
  breakAfter: number
  /** A write of the sender after this many of one try never ends. */
  stallAfter: number
  send(boot: number, store?: SnapshotStore): Promise<string>
}

async function* inTurn(all: readonly Row[]): AsyncGenerator<Row> {
  yield* all
}

async function way(): Promise<Way> {
  const clock = new VirtualClock()
  const disk = () => new FakeDisk({ clock, random: new SeededRandom(1) })
  const sender = createFakeStorage(disk()).snapshots
  const receiver = createFakeStorage(disk()).snapshots
  await clock.drive(sender.create(meta, inTurn(rows)))
  const one: Way = {
    clock,
    sender,
    receiver,
    written: [],
    breakAfter: Number.POSITIVE_INFINITY,
    stallAfter: Number.POSITIVE_INFINITY,
    send: (boot, store = sender) => clock.drive(deliver(one, boot, store), 700_000),
  }
  return one
}

async function deliver(one: Way, boot: number, store: SnapshotStore): Promise<string> {
  const pipe = new FakePipe(
    { one: "sender", other: "receiver" },
    { toOther: (go) => go(), toOne: (go) => go() },
  )
  let writes = 0
  const stream: ByteStream = {
    peerId: pipe.one.peerId,
    read: pipe.one.read,
    end: () => pipe.one.end(),
    abort: (reason) => pipe.one.abort(reason),
    async write(chunk, options) {
      writes++
      if (writes > one.breakAfter) {
        pipe.one.abort(new Error("the stream was reset"))
        throw new Error("the stream was reset")
      }
      if (writes > one.stallAfter)
        await new Promise<never>((_, reject) => {
          options?.signal?.addEventListener("abort", () => reject(new Error("it took too long")))
        })
      one.written.push(chunk)
      await pipe.one.write(chunk, options)
    },
  }
  const mesh = { openStream: async () => stream } as Pick<Mesh, "openStream"> as Mesh
  const served = serveSnapshot(pipe.other, one.clock, async () => ({
    held: () => one.receiver.held(meta),
    take: (chunks, from) => one.receiver.receive(meta, chunks, from),
  })).catch((error: unknown) => {
    pipe.other.abort(error as Error)
  })
  const send = createSnapshotSender(
    { mesh, clock: one.clock, logger: silentLogger, snapshots: store },
    frame(boot),
  )
  const delivery = await send({ peerId: "receiver", addresses: [] }, message)
  await served
  return delivery
}

async function isThere(one: Way): Promise<boolean> {
  const mark = await one.clock.drive(one.receiver.latest())
  return mark?.index === meta.index
}

test("C-32: what came before the stream broke is not sent again", async () => {
  const whole = await way()
  expect(await whole.send(7)).toBe("delivered")
  expect(await isThere(whole)).toBe(true)
  const broken = await way()
  for (const chunks of [1, 2, 3]) {
    // The announcement and the place to begin come first in each try.
    broken.breakAfter = 2 + chunks
    expect(await broken.send(7)).toBe("failed")
    expect(await isThere(broken)).toBe(false)
  }
  broken.breakAfter = Number.POSITIVE_INFINITY
  expect(await broken.send(7)).toBe("delivered")
  expect(await isThere(broken)).toBe(true)
  // Every chunk once: the three tries add only their own two pieces of beginning.
  expect(broken.written.length).toBe(whole.written.length + 3 * 2)
})

test("a sender that does not say its start sends all, as it always did", async () => {
  const one = await way()
  one.breakAfter = 3
  expect(await one.send(0)).toBe("failed")
  one.breakAfter = Number.POSITIVE_INFINITY
  one.written.length = 0
  expect(await one.send(0)).toBe("delivered")
  expect(await isThere(one)).toBe(true)
})

test("C-32: a stream that stalls is given up after 600 s, and the next one goes on behind it", async () => {
  const one = await way()
  one.stallAfter = 4
  const from = one.clock.boottime()
  expect(await one.send(7)).toBe("failed")
  expect(one.clock.boottime() - from).toBe(600_000)
  one.stallAfter = Number.POSITIVE_INFINITY
  const before = one.written.length
  expect(await one.send(7)).toBe("delivered")
  expect(await isThere(one)).toBe(true)
  // Of the four writes that went well two were chunks; each try has two of its own.
  const chunks = await one.clock.drive(collect(one.sender.chunks(meta.index)))
  expect(one.written.length - before).toBe(2 + chunks.length - 2)
})

test("C-32: a sender says when it is its own copy that cannot be read", async () => {
  const one = await way()
  const unreadable: SnapshotStore = {
    ...one.sender,
    async *chunks() {
      yield await Promise.reject(
        new TroupeError("ERR_LOG_CORRUPT", "a chunk's checksum is wrong", {
          file: "9.snap",
          offset: 0,
          reason: "a chunk's checksum is wrong",
        }),
      )
    },
  }
  expect(await one.send(7, unreadable)).toBe("unreadable")
  expect(await one.send(7)).toBe("delivered")
})
