/** Addresses and sizes. */
import { isIP } from "node:net"
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { isIpAddress } from "../../../src/manifests/address.ts"
import { parseSize } from "../../../src/manifests/size.ts"

test.each([
  ["127.0.0.1", true],
  ["255.255.255.255", true],
  ["256.0.0.1", false],
  ["1.2.3", false],
  ["01.2.3.4", false],
  ["::", true],
  ["::1", true],
  ["fe80::1%eth0", false],
  ["2001:db8::1:2", true],
  ["1:2:3:4:5:6:7:8", true],
  ["1:2:3:4:5:6:7::", true],
  ["1:2:3:4:5:6:7:8:9", false],
  ["1::2::3", false],
  ["::ffff:10.0.0.1", true],
  ["10.0.0.1::", false],
  ["host.example", false],
  ["", false],
  [":", false],
])("%j is an address: %s", (text, expected) => {
  expect(isIpAddress(text)).toBe(expected)
})

test("addresses are those of the standard library, without zones", () => {
  const pieces = fc.constantFrom("0", "1", "ff", "10.0.0.1", ":", "::", ".", "255", "abcd", "g")
  const texts = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join("")),
  )
  fc.assert(
    fc.property(texts, (text) => {
      expect(isIpAddress(text)).toBe(isIP(text) !== 0)
    }),
    { numRuns: 2000 },
  )
})

test.each([
  ["1048576", 1_048_576],
  ["512MiB", 512 * 1024 ** 2],
  ["2 GiB", 2 * 1024 ** 3],
  ["1.5GB", 1_500_000_000],
  ["4k", 4096],
  ["1TiB", 1024 ** 4],
  ["0", undefined],
  ["-1", undefined],
  ["lots", undefined],
  ["5 parsecs", undefined],
  ["999999999999999TiB", undefined],
  ["", undefined],
])("%j is %s bytes", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes)
})
