/** A run's events over real HTTP: past, coming, resumed, reset, through leader changes. */
import { connect } from "node:net"
import { expect, onTestFinished, test } from "vitest"
import { TroupeError } from "../../../src/schema/index.ts"
import { aRun } from "../../support/fake-face.ts"
import { ManualClock } from "../../support/manual-clock.ts"
import { serve } from "./served.ts"

interface Message {
  id?: string
  event?: string
  data?: string
  comment?: string
}

/** Server-sent events by a reading of the standard that owes nothing to the client's parser. */
async function* read(response: Response): AsyncGenerator<Message> {
  let rest = ""
  const decoder = new TextDecoder()
  for await (const piece of response.body!) {
    rest += decoder.decode(piece, { stream: true })
    const blocks = rest.split("\n\n")
    rest = blocks.pop()!
    for (const block of blocks) {
      const message: Message = {}
      for (const line of block.split("\n")) {
        const [field, ...value] = line.split(": ")
        if (field === "") message.comment = value.join(": ")
        else Object.assign(message, { [field!]: value.join(": ") })
      }
      if (message.event !== undefined || message.comment !== undefined) yield message
    }
  }
}

function noLeader(): TroupeError {
  return new TroupeError("ERR_NO_LEADER", "no leader", { waitedMs: 2000 })
}

async function collect(response: Response): Promise<Message[]> {
  const messages: Message[] = []
  for await (const message of read(response)) messages.push(message)
  return messages
}

async function next(messages: AsyncGenerator<Message>): Promise<Message> {
  const { done, value } = await messages.next()
  if (done === true) throw new Error("the stream ended")
  return value
}

test("past events come first, coming ones follow, and the stream ends after the last", async () => {
  const { url, face } = await serve()
  face.addRun(aRun())
  const accepted = face.emit("r-12", { type: "run-accepted" })
  const response = await fetch(`${url}/v1/runs/r-12/events`)
  expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8")
  expect(response.headers.get("cache-control")).toBe("no-store")
  const messages = read(response)
  const first = await next(messages)
  expect(first).toMatchObject({ id: accepted, event: "run-accepted" })
  expect(JSON.parse(first.data!)).toEqual({
    id: accepted,
    at: 1_700_000_000_001,
    type: "run-accepted",
  })
  const started = face.emit("r-12", { type: "task-started", task: "server", node: "bob" })
  expect(await next(messages)).toMatchObject({ id: started, event: "task-started" })
  const finished = face.emit("r-12", { type: "run-finished" })
  expect(await next(messages)).toMatchObject({ id: finished, event: "run-finished" })
  expect(await messages.next()).toEqual({ done: true, value: undefined })
})

test.each(["header", "query"])("events after an id, given by %s, each once", async (way) => {
  const { url, face } = await serve()
  face.addRun(aRun())
  const ids = [1, 2, 3].map(() => face.emit("r-12", { type: "task-pending" }))
  const last = face.emit("r-12", { type: "run-finished" })
  const response =
    way === "header"
      ? await fetch(`${url}/v1/runs/r-12/events?after=${ids[0]}`, {
          headers: { "last-event-id": ids[1]! },
        })
      : await fetch(`${url}/v1/runs/r-12/events?after=${ids[1]}`)
  expect((await collect(response)).map((message) => message.id)).toEqual([ids[2], last])
})

test("more events than one page arrive whole and in order", async () => {
  const { url, face } = await serve()
  face.addRun(aRun())
  const ids = Array.from({ length: 1700 }, () => face.emit("r-12", { type: "task-pending" }))
  ids.push(face.emit("r-12", { type: "run-finished" }))
  const response = await fetch(`${url}/v1/runs/r-12/events`)
  expect((await collect(response)).map((message) => message.id)).toEqual(ids)
})

test("an id that has left the table: a reset with the whole run, then what follows", async () => {
  const { url, face } = await serve()
  face.addRun(aRun())
  const ids = [1, 2, 3, 4].map(() => face.emit("r-12", { type: "task-pending" }))
  face.dropEvents("r-12", 2)
  const messages = read(await fetch(`${url}/v1/runs/r-12/events?after=${ids[0]}`))
  const reset = await next(messages)
  expect(reset).toMatchObject({ id: ids[3], event: "reset" })
  expect(JSON.parse(reset.data!)).toMatchObject({ id: "r-12", tasks: [{ name: "server" }] })
  const finished = face.emit("r-12", { type: "run-finished" })
  expect((await next(messages)).id).toBe(finished)
  expect((await messages.next()).done).toBe(true)
})

test("204 after the last event of a finished run, so that EventSource stays away", async () => {
  const { url, face } = await serve()
  face.addRun(aRun())
  const last = face.emit("r-12", { type: "run-finished" })
  const response = await fetch(`${url}/v1/runs/r-12/events`, { headers: { "last-event-id": last } })
  expect(response.status).toBe(204)
})

test("as JSON lines", async () => {
  const { url, face } = await serve()
  face.addRun(aRun())
  const dropped = face.emit("r-12", { type: "run-accepted" })
  face.emit("r-12", { type: "task-pending" })
  face.dropEvents("r-12", 2)
  const last = face.emit("r-12", { type: "run-finished" })
  const headers = { accept: "application/x-ndjson" }
  const whole = await fetch(`${url}/v1/runs/r-12/events?after=${dropped}`, { headers })
  const lines = (await whole.text()).trimEnd().split("\n")
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { type: "reset", id: last, run: expect.objectContaining({ id: "r-12", state: "finished" }) },
  ])
  expect(whole.headers.get("content-type")).toBe("application/x-ndjson; charset=utf-8")
})

test("a leader change in the middle is waited for, not shown", async () => {
  const clock = new ManualClock()
  const { url, face } = await serve({ clock })
  face.addRun(aRun())
  face.emit("r-12", { type: "run-accepted" })
  const unknown = new TroupeError("ERR_UNKNOWN_OUTCOME", "lost", { hint: "again" })
  const messages = read(await fetch(`${url}/v1/runs/r-12/events`))
  await next(messages)
  // The stream now waits for the second page; the three questions after it find no leader.
  await clock.waitForTimer(30_000)
  face.fail("readEvents", noLeader(), unknown, noLeader())
  const pending = face.emit("r-12", { type: "task-pending" })
  expect((await next(messages)).id).toBe(pending)
  const following = messages.next()
  for (const ms of [200, 400, 800]) {
    await clock.waitForTimer(ms)
    clock.advance(ms)
  }
  await clock.waitForTimer(30_000)
  const last = face.emit("r-12", { type: "run-finished" })
  expect((await following).value).toMatchObject({ id: last })
})

test("a heartbeat every 15 s of silence, also while there is no leader", async () => {
  const clock = new ManualClock()
  const { url, face } = await serve({ clock })
  face.addRun(aRun())
  const messages = read(await fetch(`${url}/v1/runs/r-12/events`))
  for (let beat = 0; beat < 3; beat++) {
    await clock.waitForTimer(15_000)
    clock.advance(15_000)
    expect(await next(messages)).toEqual({ comment: "still here" })
  }
})

test("an unknown run is a 404, and a bad id a 400", async () => {
  const { url, face } = await serve()
  expect((await fetch(`${url}/v1/runs/r-9/events`)).status).toBe(404)
  face.addRun(aRun())
  const bad = await fetch(`${url}/v1/runs/r-12/events`, { headers: { "last-event-id": "x" } })
  expect(bad.status).toBe(400)
})

test("an error that does not pass ends the stream with a problem", async () => {
  const clock = new ManualClock()
  const { url, face } = await serve({ clock })
  face.addRun(aRun())
  const messages = read(await fetch(`${url}/v1/runs/r-12/events`))
  await clock.waitForTimer(30_000)
  face.fail("readEvents", new TroupeError("ERR_RUN_NOT_FOUND", "gone", { run: "r-12" }))
  face.emit("r-12", { type: "task-pending" })
  expect((await next(messages)).event).toBe("task-pending")
  const problem = await next(messages)
  expect(problem.event).toBe("problem")
  expect(JSON.parse(problem.data!)).toMatchObject({ code: "ERR_RUN_NOT_FOUND", status: 404 })
  expect((await messages.next()).done).toBe(true)
})

test("stop ends the streams at once and cleanly", async () => {
  const { url, face, api } = await serve({ clock: new ManualClock() })
  face.addRun(aRun())
  face.emit("r-12", { type: "run-accepted" })
  const messages = read(await fetch(`${url}/v1/runs/r-12/events`))
  await next(messages)
  const [end] = await Promise.all([messages.next(), api.stop()])
  expect(end).toEqual({ done: true, value: undefined })
})

test("a client that leaves ends the waiting at the node", async () => {
  const clock = new ManualClock()
  const { url, face } = await serve({ clock })
  face.addRun(aRun())
  const controller = new AbortController()
  const response = await fetch(`${url}/v1/runs/r-12/events`, { signal: controller.signal })
  await clock.waitForTimer(30_000)
  controller.abort()
  await expect(response.text()).rejects.toThrow("aborted")
  // The wait's timer is gone when the face has seen its signal; the next stream's takes its place.
  await expect.poll(() => face.waiting).toBe(0)
})

test("a reader that never reads holds its own stream back and nobody else's", async () => {
  const { url, port, face } = await serve()
  face.addRun(aRun())
  const message = "x".repeat(4000)
  const total = 20_000
  for (let i = 0; i < total; i++) face.emit("r-12", { type: "task-pending", message })
  face.emit("r-12", { type: "run-finished" })
  const pages = () => face.calls.filter((call) => call.method === "readEvents").length
  const socket = connect(port, "127.0.0.1")
  onTestFinished(() => void socket.destroy())
  socket.pause()
  socket.write(`GET /v1/runs/r-12/events HTTP/1.1\r\nHost: ${new URL(url).host}\r\n\r\n`)
  let before = -1
  await expect
    .poll(
      () => {
        const isStill = before > 0 && pages() === before
        before = pages()
        return isStill
      },
      { interval: 200, timeout: 10_000 },
    )
    .toBe(true)
  // 500 events a page, 40 pages in all; what was asked for is what the sockets' buffers take.
  expect(before).toBeLessThan(20)
  expect(await collect(await fetch(`${url}/v1/runs/r-12/events`))).toHaveLength(total + 1)
})

test("a node that answers at once that there is nothing is not asked in a hurry", async () => {
  const clock = new ManualClock()
  const { url, face } = await serve({ clock })
  face.addRun(aRun())
  face.isHasty = true
  const messages = read(await fetch(`${url}/v1/runs/r-12/events`))
  const questions = () => face.calls.filter((call) => call.method === "readEvents").length
  for (const count of [2, 3, 4]) {
    await clock.waitForTimer(250)
    expect(questions()).toBe(count)
    clock.advance(250)
  }
  // The question that the last advance let go comes after this line, and so sees it.
  const last = face.emit("r-12", { type: "run-finished" })
  expect((await next(messages)).id).toBe(last)
})
