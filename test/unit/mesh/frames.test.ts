/** Frames are cut from bytes however these come. */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { CodecError, Writer } from "../../../src/lib/index.ts"
import { FrameReader } from "../../../src/mesh/frames.ts"

function framed(frames: readonly Uint8Array[]): Uint8Array {
  const writer = new Writer()
  for (const frame of frames) {
    writer.varint(frame.length)
    writer.raw(frame)
  }
  return writer.finish()
}

describe("FrameReader", () => {
  test("gives back the frames, whatever the pieces", () => {
    const frames = fc.array(fc.uint8Array({ maxLength: 700 }), { maxLength: 8 })
    const cuts = fc.array(fc.nat(6000), { maxLength: 12 })
    fc.assert(
      fc.property(frames, cuts, (sent, at) => {
        const bytes = framed(sent)
        const got: Uint8Array[] = []
        const reader = new FrameReader()
        let from = 0
        for (const to of [...at.toSorted((a, b) => a - b), bytes.length]) {
          const end = Math.min(to, bytes.length)
          reader.push(bytes.slice(from, end), (frame) => got.push(frame))
          from = end
        }
        expect(got).toEqual(sent)
      }),
    )
  })

  test("takes 4 MiB, byte by byte at its head", () => {
    const frame = new Uint8Array(4 << 20).fill(3)
    const bytes = framed([frame])
    const got: number[] = []
    const reader = new FrameReader()
    for (let at = 0; at < 5; at++) reader.push(bytes.slice(at, at + 1), () => got.push(-1))
    reader.push(bytes.slice(5), (whole) => got.push(whole.length))
    expect(got).toEqual([4 << 20])
  })

  test.for([
    ["one byte more than 4 MiB", [0x81, 0x80, 0x80, 0x02]],
    ["a length without end", [0xff, 0xff, 0xff, 0xff, 0xff]],
    ["zeros without end", [0x80, 0x80, 0x80, 0x80]],
  ] as const)("refuses %s before it comes", ([, head]) => {
    const reader = new FrameReader()
    expect(() => reader.push(Uint8Array.from(head), () => undefined)).toThrow(CodecError)
  })
})
