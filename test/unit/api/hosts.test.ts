/** Which Host headers are answered. */
import { hostname } from "node:os"
import { expect, test } from "vitest"
import { isHostAllowed } from "../../../src/api/hosts.ts"

const own = hostname().toLowerCase()

test.each([
  // listener, header, allowed
  ["127.0.0.1", undefined, true],
  ["127.0.0.1", "", false],
  ["127.0.0.1", "127.9.9.9:1", true],
  ["127.0.0.1", "LOCALHOST:8770", true],
  ["127.0.0.1", "app.localhost", true],
  ["127.0.0.1", "localhost.", true],
  ["127.0.0.1", "192.168.1.1", false],
  ["127.0.0.1", "notlocalhost", false],
  ["127.0.0.1", "127.0.0.1.evil.example", false],
  ["127.0.0.1", "evil.example@127.0.0.1", false],
  ["127.0.0.1", "proxy.test", true],
  ["::1", "[::1]:8770", true],
  ["::1", "[::2]", false],
  ["0.0.0.0", "10.77.0.2:8770", true],
  ["0.0.0.0", "[fe80::1]:8770", true],
  ["0.0.0.0", "evil.example", false],
  ["0.0.0.0", own, true],
  ["0.0.0.0", "ada", true],
  ["10.77.0.2", "localhost", true],
  ["10.77.0.2", "127.0.0.1 ", false],
])("a listener on %s answers for %j: %s", (listen, header, allowed) => {
  expect(isHostAllowed(header, { listen, allowed: ["Proxy.test"], node: "Ada" })).toBe(allowed)
})
