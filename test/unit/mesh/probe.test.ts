/** Dead, alive, dying or silent: what a probe says. */
import { createServer, type Server } from "node:net"
import { afterEach, expect, test } from "vitest"
import { isListenerGone } from "../../../src/mesh/probe.ts"
import { createClock } from "../../../src/platform/index.ts"

const clock = createClock()
const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) {
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  }
})

async function listen(server: Server) {
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("no port")
  return { host: "127.0.0.1", port: address.port }
}

const ask = (...addresses: { host: string; port: number }[]) =>
  isListenerGone(addresses, clock, new AbortController().signal)

test("nobody listens", async () => {
  const server = createServer()
  const at = await listen(server)
  await new Promise((resolve) => server.close(resolve))
  expect(await ask(at)).toBe(true)
})

test("somebody listens, at one of two addresses", async () => {
  const gone = createServer()
  const before = await listen(gone)
  await new Promise((resolve) => gone.close(resolve))
  const at = await listen(createServer((socket) => socket.on("error", () => undefined)))
  expect(await ask(at)).toBe(false)
  expect(await ask(before, at)).toBe(false)
})

test("a process that drops what it accepted, and then closes its port, is gone", async () => {
  let dropped = 0
  const server = createServer((socket) => {
    socket.resetAndDestroy()
    if (++dropped === 3) server.close()
  })
  expect(await ask(await listen(server))).toBe(true)
  expect(dropped).toBe(3)
})

test("a process that only drops what it accepts is not", async () => {
  const at = await listen(createServer((socket) => socket.resetAndDestroy()))
  expect(await ask(at)).toBe(false)
})

test("no address, no verdict", async () => {
  expect(await ask()).toBe(false)
})

test("who is back is not probed further", async () => {
  const at = await listen(createServer((socket) => socket.on("error", () => undefined)))
  expect(await isListenerGone([at], clock, AbortSignal.abort())).toBe(false)
})
