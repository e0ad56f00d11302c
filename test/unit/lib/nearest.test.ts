/** The nearest right spelling. */
import { expect, test } from "vitest"
import { nearest } from "../../../src/lib/index.ts"

const keys = ["target_ip", "target_port", "server_listen_ip", "command", "args", "agent", "os"]

test.each([
  ["comand", "command"],
  ["commnad", "command"],
  ["targetIp", "target_ip"],
  ["target-ip", "target_ip"],
  ["target_prot", "target_port"],
  ["agnet", "agent"],
  ["ARGS", "args"],
])("%s means %s", (word, meant) => {
  expect(nearest(word, keys)).toBe(meant)
})

test.each(["colour", "x", "", "__", "a".repeat(65)])("%j means none of them", (word) => {
  expect(nearest(word, keys)).toBeUndefined()
})

test("two letters must be right, and the first of equals wins", () => {
  expect(nearest("ox", keys)).toBeUndefined()
  expect(nearest("cart", ["card", "care"])).toBe("card")
})
