/** Codecs by combinators: what is written is read, nothing is read past its end or its bound. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import {
  array,
  bool,
  bytes,
  type Codec,
  CodecError,
  decode,
  encode,
  float,
  json,
  list,
  oneOf,
  optional,
  record,
  struct,
  text,
  uint,
  union,
} from "../../../src/lib/index.ts"

const shape = union("kind", {
  point: struct({ x: uint, y: float, name: optional(text(40)) }),
  many: struct({
    items: list(text(40), 5),
    rows: array(uint, 5),
    labels: record(text(40), 5),
    flag: bool,
    level: oneOf("low", "high"),
    body: json(10_000),
    data: bytes(100),
  }),
  nothing: struct({}),
})

const word = fc.string({ maxLength: 10, unit: "grapheme-ascii" })
const safe = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const value = fc.oneof(
  fc
    .record({ x: safe, y: fc.double({ noNaN: true }), name: fc.option(word, { nil: undefined }) })
    .map(({ name, ...rest }) => ({
      kind: "point" as const,
      ...rest,
      ...(name !== undefined && { name }),
    })),
  fc
    .record({
      items: fc.array(word, { maxLength: 5 }),
      rows: fc.array(safe, { maxLength: 5 }),
      labels: fc.dictionary(word, word, { maxKeys: 5, noNullPrototype: true }),
      flag: fc.boolean(),
      level: fc.constantFrom("low", "high" as const),
      body: fc.jsonValue({ maxDepth: 2 }).map((one) => JSON.parse(JSON.stringify(one)) as unknown),
      data: fc.uint8Array({ maxLength: 100 }),
    })
    .map((rest) => ({ kind: "many" as const, ...rest })),
  fc.constant({ kind: "nothing" as const }),
)

test("what is written is read", () => {
  fc.assert(
    fc.property(value, (one) => {
      expect(decode(shape, encode(shape, one))).toEqual(one)
    }),
  )
})

test("every cut of a message is refused, and so is every byte too many", () => {
  fc.assert(
    fc.property(value, (one) => {
      const encoded = encode(shape, one)
      for (let length = 0; length < encoded.length; length++) {
        expect(() => decode(shape, encoded.subarray(0, length))).toThrow(CodecError)
      }
      expect(() => decode(shape, new Uint8Array([...encoded, 0]))).toThrow(CodecError)
    }),
  )
})

test("random bytes are a value or a CodecError, never anything else", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (input) => {
      try {
        decode(shape, input)
      } catch (error) {
        expect(error).toBeInstanceOf(CodecError)
      }
    }),
    { numRuns: 2000 },
  )
})

test.each([
  [0, [0]],
  [127, [127]],
  [128, [128, 1]],
  [300, [172, 2]],
  [Number.MAX_SAFE_INTEGER, [255, 255, 255, 255, 255, 255, 255, 15]],
])("the integer %d is written in seven-bit groups, lowest first", (number, expected) => {
  expect([...encode(uint, number)]).toEqual(expected)
  expect(decode(uint, new Uint8Array(expected))).toBe(number)
})

test.each([-1, 0.5, Number.NaN, Number.MAX_SAFE_INTEGER + 1])(
  "%d is no unsigned integer",
  (number) => {
    expect(() => encode(uint, number)).toThrow(CodecError)
  },
)

test("integers past 2^53 and endless ones are refused", () => {
  expect(() => decode(uint, new Uint8Array([255, 255, 255, 255, 255, 255, 255, 127]))).toThrow(
    /2\^53/,
  )
  expect(() => decode(uint, new Uint8Array(9).fill(255))).toThrow(/more than 8 bytes/)
})

test("bounds hold in both directions", () => {
  const cases: readonly [Codec<never>, Codec<never>, unknown][] = [
    [text(3) as Codec<never>, text(9) as Codec<never>, "äö"],
    [bytes(3) as Codec<never>, bytes(9) as Codec<never>, new Uint8Array(4)],
    [list(uint, 1) as Codec<never>, list(uint, 9) as Codec<never>, [1, 2]],
    [array(uint, 1) as Codec<never>, array(uint, 9) as Codec<never>, [1, 2]],
    [record(uint, 1) as Codec<never>, record(uint, 9) as Codec<never>, { a: 1, b: 2 }],
    [json<never>(3), json<never>(9), "1234"],
  ]
  for (const [small, large, one] of cases) {
    expect(() => encode(small, one as never)).toThrow(CodecError)
    const encoded = encode(large, one as never)
    expect(decode(large, encoded)).toEqual(one)
    expect(() => decode(small, encoded)).toThrow(CodecError)
  }
})

test("a length far beyond the message is refused before anything is made for it", () => {
  const huge = encode(uint, 2 ** 40)
  expect(() => decode(bytes(2 ** 41), huge)).toThrow(/wanted/)
  expect(() => decode(list(uint, 2 ** 41), huge)).toThrow(CodecError)
})

test("what is no text, no JSON, no choice or no boolean is refused", () => {
  expect(() => decode(text(9), new Uint8Array([2, 0xc3, 0x28]))).toThrow(/UTF-8/)
  expect(() => decode(json(9), new Uint8Array([1, 0x7b]))).toThrow(/JSON/)
  expect(() => encode(json(9), undefined)).toThrow(/JSON/)
  expect(() => decode(oneOf("a", "b"), new Uint8Array([2]))).toThrow(/unknown choice/)
  expect(() => encode(oneOf("a", "b"), "c" as never)).toThrow(/not one of/)
  expect(() => decode(bool, new Uint8Array([2]))).toThrow(/boolean/)
  expect(() => encode(shape, { kind: "else" } as never)).toThrow(/unknown kind/)
  expect(() => decode(shape, new Uint8Array([3]))).toThrow(/unknown kind/)
})

test("a key named like a part of every object is a key like any other", () => {
  const labels = Object.fromEntries([
    ["__proto__", "x"],
    ["constructor", "y"],
  ])
  const read = decode(record(text(9), 9), encode(record(text(9), 9), labels))
  expect(Object.entries(read)).toEqual([
    ["__proto__", "x"],
    ["constructor", "y"],
  ])
})
