/** Bytes over real HTTP: logs, bundles, blobs, and what happens when one side is slow or leaves. */
import { createHash } from "node:crypto"
import { connect } from "node:net"
import { request } from "node:http"
import { expect, test } from "vitest"
import { Problem, TroupeError } from "../../../src/schema/index.ts"
import { aRun } from "../../support/fake-face.ts"
import { ManualClock } from "../../support/manual-clock.ts"
import { serve } from "./served.ts"

const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex")

// ---------------------------------------------------------------- logs

test("a log comes byte by byte, with its attempt and place", async () => {
  const { url, face } = await serve()
  face.addRun(aRun())
  const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 31) % 256))
  face.appendLog("r-12", "shard[3]", bytes)
  const response = await fetch(`${url}/v1/runs/r-12/logs?task=shard[3]&offset=5`)
  expect(response.headers.get("content-type")).toBe("text/plain; charset=utf-8")
  expect(response.headers.get("x-content-type-options")).toBe("nosniff")
  expect(response.headers.get("troupe-attempt")).toBe("1")
  expect(response.headers.get("troupe-log-offset")).toBe("5")
  expect(Buffer.from(await response.arrayBuffer()).equals(bytes.subarray(5))).toBe(true)
})

test("a followed log sends its headers at once, goes on, and ends with the task", async () => {
  const { url, face } = await serve({ clock: new ManualClock() })
  face.addRun(aRun())
  face.appendLog("r-12", "server", "")
  const response = await fetch(`${url}/v1/runs/r-12/logs?task=server&follow=true`, {
    headers: { accept: "application/octet-stream" },
  })
  expect(response.headers.get("content-type")).toBe("application/octet-stream")
  const reader = response.body!.getReader()
  for (const text of ["one\n", "two\n"]) {
    face.appendLog("r-12", "server", text)
    expect(Buffer.from((await reader.read()).value!).toString()).toBe(text)
  }
  face.endLog("r-12", "server")
  expect((await reader.read()).done).toBe(true)
})

test("a followed log outlives a leader change and an unreachable node", async () => {
  const clock = new ManualClock()
  const { url, face } = await serve({ clock })
  face.addRun(aRun())
  face.appendLog("r-12", "server", "a")
  const response = await fetch(`${url}/v1/runs/r-12/logs?task=server&follow=true`)
  await clock.waitForTimer(30_000)
  face.fail(
    "readLog",
    new TroupeError("ERR_NO_LEADER", "no leader", { waitedMs: 2000 }),
    new TroupeError("ERR_PEER_UNREACHABLE", "bob is away", { peer: "bob", reason: "refused" }),
  )
  face.appendLog("r-12", "server", "b")
  for (const ms of [200, 400]) {
    await clock.waitForTimer(ms)
    clock.advance(ms)
  }
  await clock.waitForTimer(30_000)
  face.appendLog("r-12", "server", "c")
  face.endLog("r-12", "server")
  expect(await response.text()).toBe("abc")
})

test("a stopping node cuts a followed log: no part is taken for the whole", async () => {
  const clock = new ManualClock()
  const { url, face, api } = await serve({ clock })
  face.addRun(aRun())
  face.appendLog("r-12", "server", "half a l")
  const response = await fetch(`${url}/v1/runs/r-12/logs?task=server&follow=true`)
  const text = response.text()
  await clock.waitForTimer(30_000)
  await Promise.all([expect(text).rejects.toThrow("terminated"), api.stop()])
})

test("an unknown task is a 404", async () => {
  const { url, face } = await serve()
  face.addRun(aRun())
  const response = await fetch(`${url}/v1/runs/r-12/logs?task=nobody`)
  expect(Problem.parse(await response.json())).toMatchObject({
    status: 404,
    code: "ERR_TASK_NOT_FOUND",
    details: { run: "r-12", task: "nobody" },
  })
})

// ---------------------------------------------------------------- bundles

test("a bundle has its name, its length and its digest", async () => {
  const { url, face } = await serve()
  face.addRun(aRun({ state: "finished" }))
  const tar = Buffer.from("not really a tar")
  const bundle = { digest: sha256(tar), bytes: tar.length, files: 1, holders: [1] }
  face.setBundle("r-12", bundle, async function* () {
    yield tar.subarray(0, 4)
    yield tar.subarray(4)
  })
  const response = await fetch(`${url}/v1/runs/r-12/bundle`)
  expect(Object.fromEntries(response.headers)).toMatchObject({
    "content-type": "application/x-tar",
    "content-length": "16",
    "content-disposition": 'attachment; filename="demo.tar"',
    "repr-digest": `sha-256=:${createHash("sha256").update(tar).digest("base64")}:`,
  })
  expect(Buffer.from(await response.arrayBuffer()).equals(tar)).toBe(true)
})

test("a slow reader holds the source back, and leaving stops it", async () => {
  const { url, port, face } = await serve()
  face.addRun(aRun({ state: "finished" }))
  const piece = Buffer.alloc(64 * 1024)
  const total = 4096
  let given = 0
  const ended = Promise.withResolvers<void>()
  const bundle = { digest: "a".repeat(64), bytes: total * piece.length, files: 1, holders: [1] }
  face.setBundle("r-12", bundle, async function* () {
    try {
      for (; given < total; given++) yield piece
    } finally {
      ended.resolve()
    }
  })
  // A reader that never reads: only what fits into the two sockets' buffers is asked for.
  const socket = connect(port, "127.0.0.1")
  socket.pause()
  socket.write(`GET /v1/runs/r-12/bundle HTTP/1.1\r\nHost: ${new URL(url).host}\r\n\r\n`)
  let before = -1
  await expect
    .poll(
      () => {
        const isStill = given > 0 && given === before
        before = given
        return isStill
      },
      { interval: 200, timeout: 10_000 },
    )
    .toBe(true)
  expect(given).toBeLessThan(total / 2)
  socket.destroy()
  await ended.promise
})

test("stop waits 2 s for a download and then cuts it", async () => {
  const clock = new ManualClock()
  const { url, face, api } = await serve({ clock })
  face.addRun(aRun({ state: "finished" }))
  const bundle = { digest: "a".repeat(64), bytes: 10, files: 1, holders: [1] }
  face.setBundle("r-12", bundle, async function* () {
    yield Buffer.from("12345")
    await new Promise<void>(() => undefined)
  })
  const response = await fetch(`${url}/v1/runs/r-12/bundle`)
  const body = expect(response.arrayBuffer()).rejects.toThrow("terminated")
  const stopped = api.stop()
  await clock.waitForTimer(2000)
  clock.advance(2000)
  await Promise.all([stopped, body])
})

test("a bundle that breaks off is no whole answer", async () => {
  const { url, face } = await serve()
  face.addRun(aRun({ state: "finished" }))
  const bundle = { digest: "a".repeat(64), bytes: 10, files: 1, holders: [1] }
  face.setBundle("r-12", bundle, async function* () {
    yield Buffer.from("12345")
    throw new TroupeError("ERR_PEER_UNREACHABLE", "gone", { peer: "bob", reason: "reset" })
  })
  const response = await fetch(`${url}/v1/runs/r-12/bundle`)
  await expect(response.arrayBuffer()).rejects.toThrow("terminated")
})

// ---------------------------------------------------------------- blobs

test("a blob is stored under its digest: 201, then 200", async () => {
  const { url, face } = await serve()
  const body = '{"json": "is bytes too"'
  const put = () =>
    fetch(`${url}/v1/blobs/${sha256(body)}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body,
    })
  const first = await put()
  expect(first.status).toBe(201)
  expect(await first.json()).toEqual({ digest: sha256(body), bytes: body.length, created: true })
  expect((await put()).status).toBe(200)
  expect(face.blobs.get(sha256(body))).toBe(body.length)
})

test("an empty blob is a blob", async () => {
  const { url } = await serve()
  const answer = await fetch(`${url}/v1/blobs/${sha256("")}`, { method: "PUT" })
  expect(answer.status).toBe(201)
  expect(await answer.json()).toMatchObject({ bytes: 0 })
})

test("a big upload passes through and is never held", async () => {
  const { url, face } = await serve()
  const piece = Buffer.alloc(2 ** 20, 7)
  const count = 256
  const hash = createHash("sha256")
  for (let i = 0; i < count; i++) hash.update(piece)
  let sent = 0
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (sent === count) return controller.close()
        sent++
        return controller.enqueue(piece)
      },
    },
    { highWaterMark: 0 },
  )
  const before = process.memoryUsage().arrayBuffers
  const gate = Promise.withResolvers<void>()
  face.holdUpload = gate.promise
  const init: RequestInit & { duplex: "half" } = { method: "PUT", body, duplex: "half" }
  const answer = fetch(`${url}/v1/blobs/${hash.digest("hex")}`, init)
  // The store stands still: the sender must come to a stop long before its end.
  let last = -1
  await expect
    .poll(
      () => {
        const isStill = sent > 0 && sent === last
        last = sent
        return isStill
      },
      { interval: 200, timeout: 10_000 },
    )
    .toBe(true)
  expect(sent).toBeLessThan(count / 2)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 2 ** 20)
  gate.resolve()
  expect((await answer).status).toBe(201)
  expect(face.uploadedBytes).toBe(count * piece.length)
})

test("other bytes than named: 422 with both digests", async () => {
  const { url } = await serve()
  const answer = await fetch(`${url}/v1/blobs/${sha256("a")}`, { method: "PUT", body: "b" })
  expect(answer.status).toBe(422)
  expect(Problem.parse(await answer.json())).toMatchObject({
    code: "ERR_BLOB_CORRUPT",
    details: { expected: sha256("a"), actual: sha256("b") },
  })
})

test.each(["declared", "streamed"])("a blob past the limit, its length %s: 413", async (way) => {
  const { url, face } = await serve({ blobBytesMax: 1000 })
  const bytes = Buffer.alloc(200_000)
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 500)
        controller.enqueue(bytes.subarray(at, at + 500))
      controller.close()
    },
  })
  const init: RequestInit & { duplex: "half" } = {
    method: "PUT",
    body: way === "declared" ? bytes : stream,
    duplex: "half",
  }
  const answer = await fetch(`${url}/v1/blobs/${sha256(bytes)}`, init)
  expect(answer.status).toBe(413)
  expect(Problem.parse(await answer.json()).details).toEqual({ what: "blob", max: 1000 })
  expect(face.blobs.size).toBe(0)
})

test("an early error is seen by a sender that goes on sending", async () => {
  const { url, port, face } = await serve()
  face.fail(
    "putBlob",
    new TroupeError("ERR_BUSY", "disk is full", { what: "disk", retryAfterMs: 2500 }),
  )
  const done = Promise.withResolvers<{ status: number; retryAfter: string | undefined }>()
  const sender = request({
    host: "127.0.0.1",
    port,
    path: `/v1/blobs/${"a".repeat(64)}`,
    method: "PUT",
    headers: { host: new URL(url).host, "content-length": 50 * 2 ** 20 },
  })
  sender.on("response", (response) => {
    response.resume()
    done.resolve({ status: response.statusCode!, retryAfter: response.headers["retry-after"] })
  })
  sender.on("error", done.reject)
  for (let i = 0; i < 50; i++) sender.write(Buffer.alloc(2 ** 20))
  expect(await done.promise).toEqual({ status: 503, retryAfter: "3" })
  sender.destroy()
})

test("a sender that falls silent is cut after a minute", async () => {
  const clock = new ManualClock()
  const { url, port } = await serve({ clock })
  const socket = connect(port, "127.0.0.1")
  const closed = Promise.withResolvers<void>()
  socket
    .on("close", () => closed.resolve())
    .on("error", () => undefined)
    .resume()
  socket.write(
    `PUT /v1/blobs/${"a".repeat(64)} HTTP/1.1\r\nHost: ${new URL(url).host}\r\nContent-Length: 9\r\n\r\nhalf`,
  )
  await clock.waitForTimer(60_000)
  // Once for the first bytes, once more if they came after the watch began.
  await expect
    .poll(() => {
      clock.advance(60_000)
      return socket.destroyed
    })
    .toBe(true)
  await closed.promise
})

test.each(["A".repeat(64), "a".repeat(63), "..%2f..%2fetc%2fpasswd"])(
  "the blob name %s is refused",
  async (name) => {
    const { url, face } = await serve()
    const answer = await fetch(`${url}/v1/blobs/${name}`, { method: "PUT", body: "x" })
    expect(answer.status).toBe(400)
    expect(face.calls).toEqual([])
  },
)
