/** What is asked again, where, and when it is given up. */
import { expect, test } from "vitest"
import type { Timing } from "../../../src/client/timing.ts"
import { type Ask, createTransport, type Transport } from "../../../src/client/transport.ts"

/** never: the connection stands, and nothing comes. */
type Reply = "refused" | "reset" | "never" | number

interface Scripted {
  readonly transport: Transport
  readonly asked: string[]
  readonly slept: number[]
  readonly waits: string[]
}

function scripted(baseUrls: string[], replies: Reply[], retryAfter = "0"): Scripted {
  const asked: string[] = []
  const slept: number[] = []
  const waits: string[] = []
  let froze = Promise.withResolvers<void>()
  const frozenOr = async (signal: AbortSignal): Promise<void> => {
    const ended = Promise.withResolvers<void>()
    signal.addEventListener("abort", () => ended.reject(new Error("ended")))
    await Promise.race([froze.promise, ended.promise])
  }
  const timing: Timing = {
    random: () => 0,
    now: () => 0,
    sleep: async (ms, signal) => {
      // Waits beside a request end with it, unless it is frozen: then they are over at once.
      if (signal) await frozenOr(signal)
      else slept.push(ms)
    },
  }
  const transport = createTransport({
    baseUrls,
    token: undefined,
    timing,
    triesMax: 4,
    listens: async () => true,
    onWait: ({ reason, waitMs }) => waits.push(`${reason} (${waitMs} ms)`),
    fetch: async (input, init) => {
      asked.push(new URL(input instanceof Request ? input.url : input).host)
      const reply = replies.shift() ?? "refused"
      if (reply === "never") {
        const { signal } = init ?? {}
        const aborted = Promise.withResolvers<never>()
        signal?.addEventListener("abort", () => {
          froze = Promise.withResolvers()
          aborted.reject(signal.reason)
        })
        froze.resolve()
        return await aborted.promise
      }
      if (typeof reply === "number") {
        const code = reply === 503 ? "ERR_NO_LEADER" : "ERR_RUN_NOT_FOUND"
        const problem = { type: "t", title: "T", status: reply, code }
        const headers = { "retry-after": retryAfter }
        return new Response(JSON.stringify(problem), { status: reply, headers })
      }
      const code = reply === "refused" ? "ECONNREFUSED" : "ECONNRESET"
      throw new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code }) })
    },
  })
  return { transport, asked, slept, waits }
}

const read: Ask = { method: "GET", path: "/x", repeatable: true }
const keyed: Ask = { method: "POST", path: "/x", repeatable: true }
const once: Ask = { method: "POST", path: "/x", repeatable: false }
const status = async (response: Response) => response.status

test("the next base URL is asked at once where nobody listens, and stays the first", async () => {
  const { transport, asked, slept } = scripted(["http://a", "http://b"], ["refused", 200, 200])
  expect(await transport.ask(once, status)).toBe(200)
  expect(await transport.ask(once, status)).toBe(200)
  expect({ asked, slept }).toEqual({ asked: ["a", "b", "b"], slept: [] })
})

test("no node anywhere: said at once, with the remedy", async () => {
  const { transport, asked, slept } = scripted(["http://a:1", "http://b:2"], [])
  await expect(transport.ask(read, status)).rejects.toMatchObject({
    code: "ERR_PEER_UNREACHABLE",
    message: expect.stringMatching(
      /http:\/\/a:1, http:\/\/b:2 \(.*ECONNREFUSED.*troupe node start/,
    ),
  })
  expect({ asked, slept }).toEqual({ asked: ["a:1", "b:2"], slept: [] })
})

test("a node that answered before is waited for: it may be starting again", async () => {
  const { transport, asked, slept } = scripted(["http://a"], [200, "refused", "refused", 200])
  await transport.ask(read, status)
  expect(await transport.ask(read, status)).toBe(200)
  expect(asked).toHaveLength(4)
  expect(slept).toEqual([100, 200])
})

test.each([
  ["a read", read],
  ["a submit with a key", keyed],
])("%s is asked again after 503 and after a broken connection", async (_name, ask) => {
  const { transport, slept } = scripted(["http://a"], [503, "reset", 200], "1")
  expect(await transport.ask(ask, status)).toBe(200)
  expect(slept).toEqual([1000, 200])
})

test("a limit to it, then the node's own error", async () => {
  const { transport, asked } = scripted(["http://a"], [503, 503, 503, 503, 503])
  await expect(transport.ask(read, status)).rejects.toMatchObject({ code: "ERR_NO_LEADER" })
  expect(asked).toHaveLength(4)
})

test("a submit without a key is sent once: 503 is told, a break is an unknown outcome", async () => {
  const first = scripted(["http://a", "http://b"], [503, 200])
  await expect(first.transport.ask(once, status)).rejects.toMatchObject({ code: "ERR_NO_LEADER" })
  const second = scripted(["http://a", "http://b"], ["reset", 200])
  await expect(second.transport.ask(once, status)).rejects.toMatchObject({
    code: "ERR_UNKNOWN_OUTCOME",
  })
  expect([first.asked, second.asked]).toEqual([["a"], ["a"]])
})

test("a keyed submit that never got through: unknown, ask with the same key", async () => {
  const { transport } = scripted(["http://a"], ["reset", "reset", "reset", "reset"])
  await expect(transport.ask(keyed, status)).rejects.toMatchObject({
    code: "ERR_UNKNOWN_OUTCOME",
    details: { hint: "ask again with the same Idempotency-Key" },
  })
})

test.each([400, 404, 409, 422, 500, 502, 504])("%i is final", async (code) => {
  const { transport, asked } = scripted(["http://a", "http://b"], [code, 200])
  await expect(transport.ask(read, status)).rejects.toMatchObject({ code: "ERR_RUN_NOT_FOUND" })
  expect(asked).toEqual(["a"])
})

test("a long Retry-After is not waited out", async () => {
  const { transport, slept } = scripted(["http://a"], [503, 200], "3600")
  await transport.ask(read, status)
  expect(slept).toEqual([5000])
})

test("each pause is told, with why and how long", async () => {
  const { transport, waits, slept } = scripted(["http://a"], [503, 503, 200], "2")
  expect(await transport.ask(read, status)).toBe(200)
  expect(slept).toEqual([2000, 2000])
  expect(waits).toEqual(["T (2000 ms)", "T (2000 ms)"])
})

const patient: Ask = { ...read, patienceMs: 3000, limitMs: 45_000 }

test("a node that takes connections and says nothing is given up, with its name", async () => {
  const { transport, asked, waits } = scripted(["http://a"], ["never", "never"])
  await expect(transport.ask(patient, status)).rejects.toMatchObject({
    code: "ERR_PEER_UNREACHABLE",
    message: expect.stringMatching(/^http:\/\/a accepts connections but does not answer/),
  })
  // The request, and whether it lives.
  expect(asked).toEqual(["a", "a"])
  expect(waits).toEqual(["no answer from http://a yet (undefined ms)"])
})

test("the next base URL is asked where one says nothing, also for a submit with a key", async () => {
  for (const ask of [patient, { ...patient, method: "POST" as const }]) {
    const { transport, asked } = scripted(["http://a", "http://b"], ["never", "never", 200])
    expect(await transport.ask(ask, status)).toBe(200)
    expect(asked).toEqual(["a", "a", "b"])
  }
})

test("aborting is the caller's own reason and ends the tries", async () => {
  const { transport, asked } = scripted(["http://a"], [503, 503])
  const controller = new AbortController()
  const reason = new Error("enough")
  controller.abort(reason)
  await expect(transport.ask({ ...read, signal: controller.signal }, status)).rejects.toBe(reason)
  expect(asked.length).toBeLessThanOrEqual(1)
})
