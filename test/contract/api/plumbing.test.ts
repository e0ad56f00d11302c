/** What holds for every route: hosts, unknown routes, methods, limits, start and stop. */
import { connect, type Socket } from "node:net"
import { request } from "node:http"
import { expect, test } from "vitest"
import { createApi } from "../../../src/api/index.ts"
import { createClock, silentLogger } from "../../../src/platform/index.ts"
import { Problem } from "../../../src/schema/index.ts"
import { FakeFace } from "../../support/fake-face.ts"
import { serve } from "./served.ts"

interface Raw {
  readonly status: number
  readonly body: string
}

/** fetch sets the Host header itself; this one lets the test. */
async function get(port: number, host: string, path = "/livez"): Promise<Raw> {
  const done = Promise.withResolvers<Raw>()
  request({ host: "127.0.0.1", port, path, headers: { host } }, (response) => {
    let body = ""
    response.setEncoding("utf8")
    response.on("data", (text: string) => (body += text))
    response.on("end", () => done.resolve({ status: response.statusCode!, body }))
  })
    .on("error", done.reject)
    .end()
  return await done.promise
}

test.each([
  ["127.0.0.1:8770", 200],
  ["localhost", 200],
  ["[::1]:8770", 200],
  ["gateway.test", 200],
  ["evil.example", 403],
  ["10.1.2.3", 403],
  ["localhost.evil.example", 403],
])("on loopback, Host %j is answered with %i", async (host, status) => {
  const { port } = await serve({ allowedHosts: ["gateway.test"] })
  expect((await get(port, host)).status).toBe(status)
})

test("a page that rebinds its name cannot submit", async () => {
  const { port, face } = await serve()
  const { status, body } = await get(port, "evil.example", "/v1/runs")
  expect(status).toBe(403)
  expect(Problem.parse(JSON.parse(body)).code).toBe("ERR_FORBIDDEN")
  expect(face.calls).toEqual([])
})

test.each([
  ["/v1/rusn", "did you mean /v1/runs?"],
  ["/v1/runs/r-1/event", "did you mean /v1/runs/r-1/events?"],
  ["/runs", "did you mean /v1/runs?"],
  ["/helth", "did you mean /health?"],
  ["/completely/else", "see /openapi.json"],
])("the unknown route %s is a problem: %s", async (path, hint) => {
  const { url } = await serve()
  const answer = await fetch(url + path)
  expect(answer.status).toBe(404)
  const problem = Problem.parse(await answer.json())
  expect(problem.code).toBe("ERR_ROUTE_NOT_FOUND")
  expect(problem.detail).toContain(hint)
})

test.each([
  ["PATCH", "/v1/runs/r-1", "DELETE, GET, HEAD"],
  ["POST", "/v1/runs/r-1/events", "GET"],
  ["GET", `/v1/blobs/${"a".repeat(64)}`, "PUT"],
  ["OPTIONS", "/v1/runs", "GET, HEAD, POST"],
])("%s %s is not allowed and says what is", async (method, path, allow) => {
  const { url } = await serve()
  const answer = await fetch(url + path, { method })
  expect(answer.status).toBe(405)
  expect(answer.headers.get("allow")).toBe(allow)
  expect(answer.headers.get("access-control-allow-origin")).toBeNull()
})

test("a body past 8 MiB is refused", async () => {
  const { url } = await serve()
  const answer = await fetch(`${url}/v1/runs`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ document: "x".repeat(9 * 2 ** 20) }),
  })
  expect(answer.status).toBe(413)
  expect(Problem.parse(await answer.json()).code).toBe("ERR_LIMIT")
})

test.each(["/v1/runs/%zz", `/v1/runs/${"a".repeat(600)}`, "/v1/runs/..%2f..%2fetc"])(
  "the path %s is a problem of the client",
  async (path) => {
    const { url, logged } = await serve()
    const answer = await fetch(url + path)
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThan(500)
    expect(Problem.parse(await answer.json()).status).toBe(answer.status)
    expect(answer.headers.get("troupe-node")).toBe("ada")
    expect(logged).toEqual([])
  },
)

test("what is not HTTP is answered and cut", async () => {
  const { port } = await serve()
  const done = Promise.withResolvers<string>()
  let text = ""
  connect(port, "127.0.0.1", function (this: Socket) {
    this.end("hello\r\n\r\n")
  })
    .setEncoding("utf8")
    .on("data", (piece: string) => (text += piece))
    .on("close", () => done.resolve(text))
  expect(await done.promise).toMatch(
    /^HTTP\/1\.1 400 Bad Request\r\n[^]*application\/problem\+json/,
  )
})

test("an unexpected error is a 500 that tells nothing of it, and is logged", async () => {
  const { url, face, logged } = await serve()
  face.fail("getRun", new Error("secret path /home/x"))
  const answer = await fetch(`${url}/v1/runs/r-1`)
  expect(answer.status).toBe(500)
  const text = await answer.text()
  expect(Problem.parse(JSON.parse(text)).code).toBe("ERR_INTERNAL")
  expect(text).not.toContain("secret")
  expect(logged).toEqual([expect.stringContaining("secret")])
})

test("a port in use names the flag", async () => {
  const { port } = await serve()
  const clock = createClock()
  const second = createApi(
    { host: "127.0.0.1", port, version: "0" },
    { face: new FakeFace({ clock }), clock, logger: silentLogger },
  )
  await expect(second.start()).rejects.toMatchObject({
    code: "ERR_ADDRESS_IN_USE",
    details: { address: `127.0.0.1:${port}`, flag: "--api" },
  })
})

test("start and stop can be said twice, and again", async () => {
  const { api, url } = await serve()
  expect((await api.start()).url).toBe(url)
  await api.stop()
  await api.stop()
  await expect(fetch(`${url}/livez`)).rejects.toThrow("fetch failed")
  const again = await api.start()
  expect((await fetch(`${again.url}/livez`)).status).toBe(200)
})
