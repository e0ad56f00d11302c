/** One mDNS name for each cluster. */
import { expect, test } from "vitest"
import { serviceTag } from "../../../src/mesh/discovery.ts"

test("a plain cluster name stands in the service name", () => {
  expect(serviceTag("troupe")).toBe("_troupe-troupe._udp.local")
})

test.for(["Lab 1", "a.b", "ä", "x".repeat(41), "-x", ""])(
  "%j gets a label of its own that DNS allows",
  (name) => {
    const [label] = serviceTag(name).split(".")
    expect(label).toMatch(/^_troupe-[0-9a-f]{32}$/)
  },
)

test("names that differ only in case are two clusters", () => {
  expect(serviceTag("Lab").toLowerCase()).not.toBe(serviceTag("lab"))
})
