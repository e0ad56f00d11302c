/** Go's names of systems and processors. */
import { expect, test } from "vitest"
import { goArch, goOs } from "../../../src/lib/index.ts"

test("Node's names become Go's", () => {
  expect(["linux", "darwin", "win32"].map(goOs)).toEqual(["linux", "darwin", "windows"])
  expect(["x64", "arm64", "ia32"].map(goArch)).toEqual(["amd64", "arm64", "386"])
})
