/** What the command line takes from its environment. */
import { expect, test } from "vitest"
import { readCliEnvironment } from "../../../src/config/index.ts"

test.each([
  [{}, "auto"],
  [{ NO_COLOR: "1" }, "never"],
  [{ NO_COLOR: "" }, "auto"],
  [{ TROUPE_NO_COLOR: "1", FORCE_COLOR: "1" }, "never"],
  [{ FORCE_COLOR: "1", TERM: "dumb" }, "always"],
  [{ FORCE_COLOR: "0" }, "auto"],
  [{ CLICOLOR_FORCE: "1" }, "always"],
  [{ TERM: "dumb" }, "never"],
])("colour of %j is %s", (env, colour) => {
  expect(readCliEnvironment(env).colour).toBe(colour)
})

test("several APIs, output, CI", () => {
  const env = { TROUPE_API: "http://a:1, http://b:2,", TROUPE_OUTPUT: "json", CI: "true" }
  expect(readCliEnvironment(env)).toEqual({
    api: ["http://a:1", "http://b:2"],
    output: "json",
    colour: "auto",
    plain: true,
    debug: false,
  })
})
