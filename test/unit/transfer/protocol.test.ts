/** Heads of blob streams, in whatever pieces they come. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import {
  encodeAnswer,
  encodeRequest,
  readAnswer,
  readRequest,
} from "../../../src/transfer/protocol.ts"

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

const read = (...bytes: number[]) => readRequest(inPieces(Uint8Array.from(bytes), 2))

const digest = "ab".repeat(32)

test("a request comes over", async () => {
  await fc.assert(
    fc.asyncProperty(fc.maxSafeNat(), fc.integer({ min: 1, max: 80 }), async (offset, size) => {
      const request = { digest, offset }
      expect(await readRequest(inPieces(encodeRequest(request), size))).toEqual(request)
    }),
  )
})

test("an answer comes over, and what follows it is not lost", async () => {
  const answer = { status: "found", bytes: 12_345 } as const
  for (const size of [1, 3, 7, 100]) {
    const bytes = Buffer.concat([encodeAnswer(answer), Buffer.from("blob")])
    const source = inPieces(bytes, size)
    const { answer: got, rest } = await readAnswer(source)
    const chunks = [rest]
    for await (const chunk of source) chunks.push(chunk)
    expect(got).toEqual(answer)
    expect(Buffer.concat(chunks).toString()).toBe("blob")
  }
})

test("a head that is cut short, too long or wrong is refused", async () => {
  await expect(read()).rejects.toThrow("ends within its head")
  await expect(read(0, 9, 1)).rejects.toThrow("ends within its head")
  await expect(read(1, 1)).rejects.toThrow("no blob request")
  await expect(read(0, 1, 200)).rejects.toThrow()
})
