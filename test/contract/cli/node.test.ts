/** `troupe node start|stop` with a real node on loopback. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { aDirectory, start, troupe } from "./command.ts"

const loopback = ["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--no-mdns"]
const quiet = ["--log-level", "error"]

/** A node that is up, where its API is, and its data directory. */
async function aNode(data: string) {
  const node = start(["node", "start", "--name", "n1", "--data", data, ...loopback, ...quiet])
  await node.says("is up")
  await node.says(data)
  return node
}

test("starts, answers, refuses a second one, stops on request and leaves no claim", async () => {
  const data = join(aDirectory(), "data")
  const node = await aNode(data)
  const claim = JSON.parse(readFileSync(join(data, "node.pid"), "utf8")) as { pid: number }
  expect(claim.pid).toBe(node.child.pid)

  const second = await troupe(["node", "start", "--data", data, ...loopback])
  expect(second.code).toBe(2)
  expect(second.stderr).toContain(`already running in ${data}`)
  expect(existsSync(join(data, "node.pid"))).toBe(true)

  const stop = await troupe(["node", "stop", "--data", data])
  expect(stop.stderr).toContain("stopped")
  expect(stop.code).toBe(0)
  const { code, stdout, stderr } = await node.finished
  expect(code).toBe(0)
  expect(stdout).toBe("")
  expect(stderr).toMatch(/troupe \d+\.\d+\.\d+: node n1 is up\n {2}peer id {4}12D3Koo\w+\n/)
  expect(stderr).toMatch(/ {2}api {8}http:\/\/127\.0\.0\.1:\d+\n/)
  expect(existsSync(join(data, "node.pid"))).toBe(false)
})

test("a signal in the middle of the start stops it too", async () => {
  const data = join(aDirectory(), "data")
  const node = start(["node", "start", "--data", data, ...loopback, ...quiet])
  // The claim is written first of all.
  while (!existsSync(join(data, "node.pid"))) await new Promise((resolve) => setImmediate(resolve))
  node.child.kill("SIGTERM")
  const { code } = await node.finished
  // Before the handlers stand the signal itself ends it (null); after that it is handed over.
  expect([0, null]).toContain(code)
})

test("stop never signals a process that merely has the number", async () => {
  const data = aDirectory()
  writeFileSync(join(data, "node.pid"), JSON.stringify({ pid: process.pid, started: "long ago" }))
  const { code, stderr } = await troupe(["node", "stop", "--data", data])
  expect(code).toBe(2)
  expect(stderr).toContain("no node is running")
})

test.each(["", "{", '{"pid":-1,"started":""}'])("a claim that says %j is none", async (content) => {
  const data = aDirectory()
  writeFileSync(join(data, "node.pid"), content)
  const { code } = await troupe(["node", "stop", "--data", data])
  expect(code).toBe(2)
})
