import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { Lane, timeAt, unfinishedBytes } from "../../../src/node/log-lane.ts"
import { Merge } from "../../../src/node/log-merge.ts"

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array) => new TextDecoder().decode(data)

function aLane(task: string, at = 0): Lane {
  return new Lane({ task, attempt: 1, node: "n1", stream: "stdout" }, { next: 0, at })
}

/** Lines with the times at which each was there; all of it is looked at at `at`. */
function put(
  lane: Lane,
  lines: readonly (readonly [string, number])[],
  more: Partial<{ state: "live" | "ended"; at: number; aheadMs: number }> = {},
) {
  const { state = "live", aheadMs = 0, at = lines.at(-1)![1] + 1000 } = more
  let size = lane.next ?? 0
  const offset = size
  const points = lines.map(([line, time]) => ({ bytes: (size += bytes(line).length), at: time }))
  const data = bytes(lines.map(([line]) => line).join(""))
  lane.put(
    { state, offset, data, size, points: [{ bytes: offset, at: points[0]!.at }, ...points] },
    { at, aheadMs },
  )
}

function said(merge: Merge, now = 0): string[] {
  const out: string[] = []
  for (;;) {
    merge.sweep()
    const next = merge.next(now)
    if ("waitMs" in next) return out
    out.push(`${next.stretch.task}:${text(next.stretch.data)}`)
  }
}

describe("order", () => {
  test("lines of two streams come by their times", () => {
    const merge = new Merge({ patient: true })
    const [a, b] = [aLane("a"), aLane("b")]
    merge.add(a)
    merge.add(b)
    put(
      a,
      [
        ["a1\n", 10],
        ["a2\n", 30],
      ],
      { state: "ended" },
    )
    put(
      b,
      [
        ["b1\n", 20],
        ["b2\n", 40],
      ],
      { state: "ended" },
    )
    expect(said(merge)).toEqual(["a:a1\n", "b:b1\n", "a:a2\n", "b:b2\n"])
    expect(merge.lanes.size).toBe(0)
  })

  test("the clock of a node that is ahead is set right", () => {
    const merge = new Merge({ patient: true })
    const [a, b] = [aLane("a"), aLane("b")]
    merge.add(a)
    merge.add(b)
    put(
      a,
      [
        ["a1\n", 60_010],
        ["a2\n", 60_030],
      ],
      { state: "ended", aheadMs: 60_000 },
    )
    put(b, [["b1\n", 20]], { state: "ended" })
    expect(said(merge)).toEqual(["a:a1\n", "b:b1\n", "a:a2\n"])
  })

  test("who may still say something older is waited for, but not for ever", () => {
    const merge = new Merge({ patient: false })
    const [a, silent] = [aLane("a"), aLane("silent")]
    merge.add(a)
    merge.add(silent)
    put(a, [["a1\n", 500]])
    expect(said(merge, 0)).toEqual([])
    expect(said(merge, 399)).toEqual([])
    expect(said(merge, 400)).toEqual(["a:a1\n"])
    silent.put(
      { state: "live", offset: 0, data: bytes(""), size: 0, points: [] },
      { at: 2000, aheadMs: 0 },
    )
    put(a, [["a2\n", 1900]])
    expect(said(merge, 500), "it was looked at after that line").toEqual(["a:a2\n"])
  })

  test("nobody waits for a node that does not answer", () => {
    const merge = new Merge({ patient: true })
    const [a, silent] = [aLane("a"), aLane("silent")]
    merge.add(a)
    merge.add(silent)
    put(a, [["a1\n", 500]], { state: "ended" })
    expect(said(merge)).toEqual([])
    silent.away = true
    expect(said(merge)).toEqual(["a:a1\n"])
  })

  test("a line is ended before another begins, if it is ended soon", () => {
    const merge = new Merge({ patient: false })
    const [a, b] = [aLane("a"), aLane("b")]
    merge.add(a)
    merge.add(b)
    put(a, [["half of ", 10]])
    put(b, [["b1\n", 20]])
    expect(said(merge, 0)).toEqual(["a:half of "])
    expect(said(merge, 499)).toEqual([])
    put(a, [["a line\n", 3000]])
    expect(said(merge, 499)).toEqual(["a:a line\n", "b:b1\n"])
    put(a, [["prompt> ", 4000]])
    put(b, [["b2\n", 5000]])
    expect(said(merge, 600)).toEqual(["a:prompt> "])
    expect(said(merge, 1100)).toEqual(["b:b2\n"])
  })
})

describe("bytes", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "ä", "€", "😀", "\n"), maxLength: 200 })

  test("every byte once and in order, no letter cut, whatever the pieces", () => {
    fc.assert(
      fc.property(
        letters,
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
        (all, sizes) => {
          const lane = aLane("a")
          const data = bytes(all)
          let turn = 0
          let out = ""
          while (!lane.complete) {
            const offset = lane.next!
            const piece = data.subarray(offset, offset + sizes[turn++ % sizes.length]!)
            lane.put(
              {
                state: "ended",
                offset,
                data: piece,
                size: data.length,
                points: [{ bytes: data.length, at: 5 }],
              },
              { at: 10, aheadMs: 0 },
            )
            const whole = piece.length > 4
            while (lane.head()) {
              const part = lane.take()
              // A piece smaller than a letter cannot but be cut.
              if (whole) expect(unfinishedBytes(bytes(`x${text(part.data)}`))).toBe(0)
              out += Buffer.from(part.data).toString("latin1")
            }
          }
          expect(Buffer.from(out, "latin1").toString()).toBe(all)
          expect(lane.buffered).toBe(0)
        },
      ),
    )
  })

  test("a line of ten megabytes comes in parts, whole", () => {
    const lane = aLane("a")
    const line = `${"ä".repeat(5_000_000)}\n`
    const data = bytes(line)
    let parts = 0
    let total = 0
    for (; !lane.complete;) {
      const offset = lane.next!
      const piece = data.subarray(offset, offset + (256 << 10))
      lane.put(
        { state: "ended", offset, data: piece, size: data.length, points: [] },
        { at: 0, aheadMs: 0 },
      )
      while (lane.head()) {
        const { data: part } = lane.take()
        expect(part.length).toBeLessThanOrEqual(64 << 10)
        expect(text(part)).not.toContain("\ufffd")
        total += part.length
        parts++
      }
    }
    expect(total).toBe(data.length)
    expect(parts).toBeGreaterThan(100)
  })

  test.each([
    ["", 0],
    ["ab", 0],
    ["a\xc3", 1],
    ["a\xe2\x82", 2],
    ["a\xf0\x9f\x98", 3],
    ["a\xf0\x9f\x98\x80", 0],
    ["a\x80\x80\x80\x80", 0],
    ["\xc3", 0],
  ])("%j ends with %i bytes of a letter", (latin1, expected) => {
    expect(unfinishedBytes(Buffer.from(latin1, "latin1"))).toBe(expected)
  })
})

test("times between two points are taken evenly, behind the last one they are its own", () => {
  const points = [
    { bytes: 10, at: 100 },
    { bytes: 20, at: 200 },
    { bytes: 20, at: 500 },
    { bytes: 30, at: 600 },
  ]
  expect([5, 10, 15, 20, 25, 30, 99].map((at) => timeAt(points, at))).toEqual([
    100, 100, 150, 200, 550, 600, 600,
  ])
  expect(timeAt([], 5)).toBeUndefined()
})
