/** The log's writer: no answer leaves before the sync, what waits goes together, and the first error is the last word. */
import { expect, test } from "vitest"
import type { WalFile, WalFiles } from "../../../src/storage/wal-files.ts"
import { createWriter, type WalReply, type WalRequest } from "../../../src/storage/wal-writer.ts"
import { FakeDisk } from "../../support/fake-disk.ts"
import { instantClock, seeded } from "../../support/log-samples.ts"

/** Files that note what is done to them, in one list with the replies. */
function observed(fail?: (event: string, count: number) => boolean) {
  const disk = new FakeDisk({ clock: instantClock, random: seeded(1) })
  const events: string[] = []
  const replies: WalReply[] = []
  const note = (event: string) => {
    events.push(event)
    if (fail?.(event, events.length)) throw new Error(`${event} failed: no space left on device`)
  }
  const watch = (file: WalFile): WalFile => ({
    write(bytes, position) {
      note("write")
      file.write(bytes, position)
    },
    datasync() {
      note("datasync")
      file.datasync()
    },
    close: () => file.close(),
  })
  const directory = disk.directory("/")
  const files: WalFiles = {
    list: () => directory.list(),
    read: (name) => directory.read(name),
    create: (name) => watch(directory.create(name)),
    open: (name) => watch(directory.open(name)),
    rename: (from, to) => directory.rename(from, to),
    remove: (name) => directory.remove(name),
    syncDirectory: () => directory.syncDirectory(),
  }
  const writer = createWriter({
    files: (path) => (path === "/" ? files : disk.directory(path)),
    salt: () => 7,
    now: () => 0,
    reply(reply) {
      replies.push(reply)
      if (reply.kind === "written") events.push(`written ${reply.through}`)
    },
  })
  return { writer, events, replies }
}

function openRequest(): WalRequest {
  return {
    kind: "open",
    directory: "/",
    outside: "/outside",
    clusterId: "cluster",
    memberId: 1,
    segmentBytes: 64 * 1024,
    start: new Uint8Array([1]),
  }
}

function appends(from: number, to: number, bytes = 10): WalRequest[] {
  return Array.from({ length: to - from + 1 }, (_, offset) => ({
    kind: "append",
    id: from + offset,
    payload: new Uint8Array(bytes).fill(9),
    start: new Uint8Array([1]),
  }))
}

test("what waits is written once, synced once, and answered after that", () => {
  const { writer, events } = observed()
  writer.run([openRequest()])
  events.length = 0
  writer.run(appends(1, 30))
  writer.run(appends(31, 31))
  expect(events).toEqual(["write", "datasync", "written 30", "write", "datasync", "written 31"])
})

test("a group is bounded", () => {
  const { writer, events } = observed()
  writer.run([openRequest()])
  events.length = 0
  const mebibyte = 1024 * 1024
  writer.run(appends(1, 20, mebibyte))
  expect(events.filter((event) => event.startsWith("written"))).toEqual([
    "written 8",
    "written 16",
    "written 20",
  ])
})

test("every answer follows a sync that follows its write, whatever the order of requests", () => {
  const { writer, events } = observed()
  writer.run([openRequest(), ...appends(1, 3), { kind: "drop", first: 1 }, ...appends(4, 5)])
  while (writer.idle());
  writer.run([...appends(6, 6), { kind: "close" }])
  const answers = events.flatMap((event, position) =>
    event.startsWith("written") ? [position] : [],
  )
  expect(answers.length).toBe(3)
  for (const position of answers) {
    expect(events.slice(position - 2, position)).toEqual(["write", "datasync"])
  }
})

test.each(["write", "datasync"])("after a failed %s nothing is answered or touched", (broken) => {
  let armed = false
  const { writer, events, replies } = observed((event) => armed && event === broken)
  writer.run([openRequest(), ...appends(1, 1)])
  armed = true
  writer.run(appends(2, 3))
  armed = false
  const before = events.length
  writer.run([...appends(4, 9), { kind: "drop", first: 9 }])
  expect(writer.idle()).toBe(false)
  expect(events.length).toBe(before)
  expect(replies.filter((reply) => reply.kind === "written").length).toBe(1)
  const failures = replies.filter((reply) => reply.kind === "failed")
  expect(failures).toEqual([
    { kind: "failed", reason: `${broken} failed: no space left on device` },
  ])
})

test("a failed preparation of the spare is an error like any other", () => {
  let armed = false
  const { writer, replies } = observed(() => armed)
  writer.run([openRequest()])
  armed = true
  expect(writer.idle()).toBe(false)
  armed = false
  writer.run(appends(1, 1))
  expect(replies.at(-1)?.kind).toBe("failed")
})
