/** The client against the real API: every method, and streams over lost connections. */
import { createHash } from "node:crypto"
import { createServer, type Server } from "node:http"
import { connect, type AddressInfo, type Socket } from "node:net"
import { createServer as createRelay } from "node:net"
import { expect, onTestFinished, test } from "vitest"
import { createClient, type RunMessage } from "../../../src/client/index.ts"
import { TroupeError } from "../../../src/schema/index.ts"
import { aRun, everyError } from "../../support/fake-face.ts"
import { serve } from "./served.ts"

const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex")

/** Waits cost nothing here; what is waited for is told by events. */
const hasty = { sleep: async () => undefined, random: () => 0, now: () => 0 }

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const one of source) all.push(one)
  return all
}

/** A port before the API whose connections a test can cut. */
async function relay(
  port: number,
): Promise<{ url: string; cut: () => void; connections: () => number }> {
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createRelay((inner) => {
    connections++
    const outer = connect(port, "127.0.0.1")
    for (const socket of [inner, outer]) {
      sockets.add(socket)
      socket.on("error", () => undefined).on("close", () => sockets.delete(socket))
    }
    inner.pipe(outer).pipe(inner)
  })
  await listening(server)
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  onTestFinished(async () => {
    cut()
    await new Promise((resolve) => server.close(resolve))
  })
  const { port: own } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${own}`, cut, connections: () => connections }
}

async function listening(server: Server | ReturnType<typeof createRelay>): Promise<void> {
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve)
  })
}

test("submit, plan, list, get, cancel", async () => {
  const { url, face } = await serve()
  const client = createClient({ baseUrl: `${url}/` })
  face.warnings = ["Größe, 50 %", "second"]
  const request = { document: "api_version: v1\n" }
  const first = await client.submitRun(request, { key: "k" })
  expect(first).toMatchObject({ existing: false, warnings: ["Größe, 50 %", "second"] })
  expect(await client.submitRun(request, { key: "k" })).toMatchObject({
    existing: true,
    run: { id: first.run.id },
    warnings: [],
  })
  expect((await client.planRun(request)).placements[0]?.node).toBe("bob")
  expect((await client.getRun(first.run.id)).id).toBe(first.run.id)
  const list = await client.listRuns({ state: "active", limit: 1 })
  expect(list.items.map((run) => run.id)).toEqual([first.run.id])
  const cancelled = await client.cancelRun("demo", { reason: "50 % & more" })
  expect(cancelled.cancelRequested).toBe("50 % & more")
  await expect(client.submitRun({ document: "x" }, { key: "k" })).rejects.toMatchObject({
    code: "ERR_KEY_CONFLICT",
    details: { key: "k", run: first.run.id },
  })
})

test("nodes, status, health; health also without a leader", async () => {
  const { url, face } = await serve()
  const client = createClient({ baseUrl: url })
  expect((await client.nodes()).map((node) => node.member.name)).toEqual(["ada", "bob"])
  expect((await client.status()).term).toBe(4)
  face.healthView = { ...face.healthView, status: "no-leader", notes: ["two voters are silent"] }
  expect(await client.health()).toEqual(face.healthView)
})

test("a bundle with its digest; bytes up and down", async () => {
  const { url, face } = await serve()
  const client = createClient({ baseUrl: url })
  face.addRun(aRun({ state: "finished" }))
  const tar = Buffer.from("tar".repeat(50_000))
  const bundle = { digest: sha256(tar), bytes: tar.length, files: 3, holders: [1] }
  face.setBundle("r-12", bundle, async function* () {
    yield tar
  })
  const { read, ...head } = await client.bundle("demo")
  expect(head).toEqual({
    run: "r-12",
    fileName: "demo.tar",
    digest: sha256(tar),
    bytes: tar.length,
  })
  expect(sha256(Buffer.concat(await collect(read)))).toBe(head.digest)

  const bytes = new Uint8Array(100_000).fill(3)
  expect(await client.putBlob(sha256(bytes), bytes)).toMatchObject({ created: true })
  async function* pieces() {
    yield bytes.subarray(0, 7)
    yield bytes.subarray(7)
  }
  expect(await client.putBlob(sha256(bytes), pieces())).toMatchObject({
    bytes: 100_000,
    created: false,
  })
  await expect(client.putBlob(sha256("a"), bytes)).rejects.toMatchObject({
    code: "ERR_BLOB_CORRUPT",
    details: { actual: sha256(bytes) },
  })
})

test("an upload that is refused in its middle stops its source and tells why", async () => {
  const { url, face } = await serve()
  const client = createClient({ baseUrl: url })
  let given = 0
  const left = Promise.withResolvers<void>()
  async function* pieces() {
    try {
      for (; given < 100_000; given++) yield new Uint8Array(64 * 1024)
    } finally {
      left.resolve()
    }
  }
  const busy = { what: "disk", retryAfterMs: 5000 }
  face.fail("putBlob", new TroupeError("ERR_BUSY", "the disk is full", busy))
  await expect(client.putBlob(sha256("x"), pieces())).rejects.toMatchObject({
    code: "ERR_BUSY",
    details: busy,
  })
  await left.promise
  expect(given).toBeLessThan(100_000)
})

test("events go on over cut connections, each once, until the last", async () => {
  const { port, face } = await serve()
  const line = await relay(port)
  face.addRun(aRun())
  const ids = [face.emit("r-12", { type: "run-accepted" })]
  const seen: RunMessage[] = []
  const client = createClient({ baseUrl: line.url, timing: hasty })
  for await (const message of client.events("demo")) {
    seen.push(message)
    // After every third event the connection breaks, and more happens meanwhile.
    if (seen.length % 3 === 0) line.cut()
    if (seen.length < 10) ids.push(face.emit("r-12", { type: "task-pending" }))
    else if (seen.length === 10) ids.push(face.emit("r-12", { type: "run-finished" }))
  }
  expect(seen.map((message) => "id" in message && message.id)).toEqual(ids)
  expect(line.connections()).toBeGreaterThan(3)
})

test("events that were missed for too long: the whole run instead", async () => {
  const { url, face } = await serve()
  face.addRun(aRun())
  const [first] = [1, 2, 3].map(() => face.emit("r-12", { type: "task-pending" }))
  face.dropEvents("r-12", 2)
  face.emit("r-12", { type: "run-finished" })
  const client = createClient({ baseUrl: url })
  const messages = await collect(client.events("r-12", { after: first }))
  expect(messages).toEqual([
    { type: "reset", run: expect.objectContaining({ id: "r-12", state: "finished" }) },
  ])
  const last = (
    await face.readEvents(
      "r-12",
      { after: undefined, limit: 1, waitMs: 0 },
      { signal: AbortSignal.any([]) },
    )
  ).last
  expect(await collect(client.events("r-12", { after: last }))).toEqual([])
})

test("a stopping node hands its readers to the next one", async () => {
  const first = await serve()
  const second = await serve({ face: first.face })
  first.face.addRun(aRun())
  first.face.emit("r-12", { type: "run-accepted" })
  const client = createClient({ baseUrl: [first.url, second.url], timing: hasty })
  const types: string[] = []
  for await (const message of client.events("r-12")) {
    types.push(message.type)
    if (message.type === "run-accepted") {
      await first.api.stop()
      first.face.emit("r-12", { type: "run-finished" })
    }
  }
  expect(types).toEqual(["run-accepted", "run-finished"])
})

test("a newer run with the same label does not take over a stream", async () => {
  const { port, face } = await serve()
  const line = await relay(port)
  face.addRun(aRun())
  face.emit("r-12", { type: "run-accepted" })
  face.appendLog("r-12", "server", "old")
  const client = createClient({ baseUrl: line.url, timing: hasty })
  const log = client.logs("demo", { task: "server", follow: true })[Symbol.asyncIterator]()
  const pieces = [await log.next()]
  const types: string[] = []
  for await (const message of client.events("demo")) {
    types.push(message.type)
    if (message.type !== "run-accepted") continue
    face.addRun(aRun({ id: "r-13" }))
    face.appendLog("r-13", "server", "new, and longer")
    line.cut()
    face.appendLog("r-12", "server", " end")
    face.endLog("r-12", "server")
    face.emit("r-12", { type: "task-ended" })
    face.emit("r-12", { type: "run-finished" })
  }
  pieces.push(await log.next())
  expect(types).toEqual(["run-accepted", "task-ended", "run-finished"])
  expect(pieces.map((piece) => Buffer.from(piece.value).toString())).toEqual(["old", " end"])
  expect((await log.next()).done).toBe(true)
})

test("a log comes whole over cut connections", async () => {
  const { port, face } = await serve()
  const line = await relay(port)
  face.addRun(aRun())
  const client = createClient({ baseUrl: line.url, timing: hasty })
  let got = ""
  face.appendLog("r-12", "server", "line 0\n")
  for await (const piece of client.logs("r-12", { task: "server", follow: true })) {
    got += Buffer.from(piece).toString()
    const count = got.split("\n").length - 1
    if (count % 2 === 0) line.cut()
    if (count < 6) face.appendLog("r-12", "server", `line ${count}\n`)
    else face.endLog("r-12", "server")
  }
  expect(got).toBe([0, 1, 2, 3, 4, 5].map((n) => `line ${n}\n`).join(""))
  expect(line.connections()).toBeGreaterThan(2)
})

test("errors of streams come as what they are", async () => {
  const { url, face } = await serve()
  const client = createClient({ baseUrl: url })
  await expect(collect(client.events("r-9"))).rejects.toMatchObject({ code: "ERR_RUN_NOT_FOUND" })
  face.addRun(aRun())
  await expect(collect(client.logs("r-12", { task: "x" }))).rejects.toMatchObject({
    code: "ERR_TASK_NOT_FOUND",
  })
  face.emit("r-12", { type: "run-accepted" })
  const events = client.events("r-12")[Symbol.asyncIterator]()
  await events.next()
  await expect.poll(() => face.waiting).toBe(1)
  face.fail("readEvents", new TroupeError("ERR_RUN_NOT_FOUND", "gone", { run: "r-12" }))
  face.emit("r-12", { type: "task-pending" })
  await events.next()
  await expect(events.next()).rejects.toMatchObject({ code: "ERR_RUN_NOT_FOUND" })
})

test("every error of a node is the same error at the client", async () => {
  const { url, face } = await serve()
  // One try, so that the 503s are told and not asked again.
  const client = createClient({ baseUrl: url, triesMax: 1 })
  for (const error of everyError) {
    face.fail("getRun", error)
    await expect(client.getRun("r-1")).rejects.toMatchObject({
      code: error.code,
      message: error.message,
      details: error.details,
    })
  }
})

test("a stream that keeps breaking is given up with a clear error", async () => {
  let connections = 0
  const server = createServer((_request, response) => {
    connections++
    response.writeHead(200, { "content-type": "text/event-stream" })
    response.end("retry: 1000\n\n")
  })
  await listening(server)
  onTestFinished(() => void server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const client = createClient({ baseUrl: url, timing: hasty })
  await expect(collect(client.events("r-1"))).rejects.toMatchObject({
    code: "ERR_PEER_UNREACHABLE",
    message: expect.stringContaining("keeps ending early"),
  })
  expect(connections).toBe(11)
})

test("leaving a stream closes its connection", async () => {
  const { url, face } = await serve()
  face.addRun(aRun())
  face.emit("r-12", { type: "run-accepted" })
  const messages = createClient({ baseUrl: url }).events("r-12")[Symbol.asyncIterator]()
  await messages.next()
  await messages.return?.()
  await expect.poll(() => face.waiting).toBe(0)
  const controller = new AbortController()
  const reason = new Error("enough")
  const reading = collect(
    createClient({ baseUrl: url }).events("r-12", { signal: controller.signal }),
  )
  await expect.poll(() => face.waiting).toBe(1)
  controller.abort(reason)
  await expect(reading).rejects.toBe(reason)
})

test.each([
  ["an answer of another shape", '{"id":"r-1"}', /label: /],
  ["a page", "<html>", /is this a troupe node\?/],
])("%s is ERR_PROTOCOL", async (_name, body, message) => {
  const client = createClient({
    baseUrl: "http://node.test",
    fetch: async () => new Response(body, { status: 200 }),
  })
  await expect(client.getRun("r-1")).rejects.toMatchObject({
    code: "ERR_PROTOCOL",
    message: expect.stringMatching(message),
  })
})

test("a newer node's further fields do no harm", async () => {
  const run = { ...aRun(), mood: "good" }
  const client = createClient({
    baseUrl: "http://node.test",
    fetch: async () => Response.json(run),
  })
  expect(await client.getRun("r-12")).toEqual(run)
})

test("the token goes along", async () => {
  let seen: string | null = null
  const client = createClient({
    baseUrl: "http://node.test",
    token: "trt1-x",
    fetch: async (_url, init) => {
      seen = new Headers(init?.headers).get("authorization")
      return Response.json({ items: [] })
    },
  })
  await client.nodes()
  expect(seen).toBe("Bearer trt1-x")
})
