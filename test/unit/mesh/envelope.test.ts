/** The frames of request streams, and errors that travel in them. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { Uint8ArrayList } from "uint8arraylist"
import {
  decodeEnvelope,
  decodeFailure,
  encodeEnvelope,
  encodeFailure,
} from "../../../src/mesh/envelope.ts"
import { TroupeError } from "../../../src/schema/index.ts"

test("what is encoded is decoded", () => {
  const kind = fc.constantFrom("request", "cancel", "ping", "answer", "failure", "pong")
  fc.assert(
    fc.property(fc.maxSafeNat(), kind, fc.uint8Array(), (id, which, body) => {
      const { body: got, ...rest } = decodeEnvelope(encodeEnvelope(id, which, body))
      expect(rest).toEqual({ id, kind: which })
      expect(got).toEqual(body)
    }),
  )
})

test("an unknown kind is refused", () => {
  expect(() => decodeEnvelope(new Uint8ArrayList(Uint8Array.of(1, 99)))).toThrow("unknown kind")
})

test("an error of the world keeps code, message and details", () => {
  const error = new TroupeError("ERR_LIMIT", "too much", { what: "runs", max: 3 })
  const back = decodeFailure(encodeFailure(error, "/x"), "/x")
  expect(back).toBeInstanceOf(TroupeError)
  expect(back).toMatchObject({
    code: "ERR_LIMIT",
    message: "too much",
    details: { what: "runs", max: 3 },
  })
})

test("a bug of the other side is a sentence, not a stack", () => {
  const back = decodeFailure(encodeFailure(new Error("x is undefined"), "/x"), "/x")
  expect(back).toMatchObject({ code: "ERR_PROTOCOL", details: { where: "/x" } })
  expect(back.message).toContain("x is undefined")
})

test("details past 1 MiB do not travel", () => {
  const huge = new TroupeError("ERR_FORBIDDEN", "no", { what: "x".repeat(2 << 20) })
  const bytes = encodeFailure(huge, "/x")
  expect(bytes.length).toBeLessThan(1000)
  expect(decodeFailure(bytes, "/x").message).toContain("ERR_FORBIDDEN")
})

test.for([
  ["not JSON", "{"],
  ["null", "null"],
  ["no code", "{}"],
  ["a strange code", '{"code":"__proto__","message":"m","details":{}}'],
  ["no details", '{"code":"ERR_LIMIT","message":"m"}'],
  ["null details", '{"code":"ERR_LIMIT","message":"m","details":null}'],
] as const)("%s is a protocol error", ([, text]) => {
  expect(decodeFailure(new TextEncoder().encode(text), "/x").code).toBe("ERR_PROTOCOL")
})
