import { createHash } from "node:crypto"
import { expect, test } from "vitest"
import { keepArtifacts, leftOutFile } from "../../../src/node/artifacts.ts"
import { silentLogger } from "../../../src/platform/index.ts"
import { TroupeError } from "../../../src/schema/index.ts"

/** Files by their path; undefined cannot be read. */
function parts(files: Readonly<Record<string, string | undefined>>) {
  const blobs = new Map<string, string>()
  async function* content(file: string) {
    const text = files[file]
    if (text === undefined) {
      const details = { path: file, reason: "EACCES: permission denied" }
      throw new TroupeError("ERR_STORAGE", "an output cannot be read", details)
    }
    yield Buffer.from(text)
  }
  const put = async (source: AsyncIterable<Uint8Array>) => {
    const chunks: Uint8Array[] = []
    for await (const chunk of source) chunks.push(chunk)
    const data = Buffer.concat(chunks)
    const digest = createHash("sha256").update(data).digest("hex")
    blobs.set(digest, data.toString())
    return { digest, bytes: data.length }
  }
  return { blobs, parts: { blobs: { put }, keeper: { content }, logger: silentLogger } }
}

const artifact = (path: string, bytes: number, problem?: string) => ({
  path,
  file: path,
  bytes,
  ...(problem !== undefined && { problem }),
})

test("what cannot be read, has changed or has a problem is listed; the rest comes home", async () => {
  const at = parts({ "a.txt": "aa", "b.txt": undefined, "c.txt": "grown" })
  const artifacts = [
    artifact("a.txt", 2),
    artifact("b.txt", 5),
    artifact("c.txt", 3),
    artifact("link", 0, "it is a link"),
    artifact("stdout.log", 3),
  ]
  const outputs = await keepArtifacts({ folder: "roles/one", artifacts, room: 100 }, at.parts)
  expect(outputs.map(({ path }) => path)).toEqual([
    "roles/one/a.txt",
    "roles/one/c.txt",
    `roles/one/${leftOutFile}`,
  ])
  const list = at.blobs.get(outputs.at(-1)!.digest)!
  expect(
    list
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual([
    { path: "b.txt", reason: "EACCES: permission denied" },
    { path: "c.txt", reason: "it changed while it was collected: 5 bytes came home, it had 3" },
    { path: "link", reason: "it is a link" },
    { path: "stdout.log", reason: "the bundle has a file of its own there" },
  ])
})

test("nothing left out: no list; more than a report holds: the rest is listed, a thousand by name", async () => {
  const files = Object.fromEntries(Array.from({ length: 3000 }, (_, n) => [`${n}`, "x"]))
  const at = parts(files)
  const artifacts = Object.keys(files).map((path) => artifact(path, 1))
  const whole = await keepArtifacts({ folder: "f", artifacts, room: 5000 }, at.parts)
  expect(whole).toHaveLength(3000)
  const cut = await keepArtifacts({ folder: "f", artifacts, room: 1001 }, at.parts)
  expect(cut).toHaveLength(1001)
  const lines = at.blobs.get(cut.at(-1)!.digest)!.trim().split("\n")
  expect(lines).toHaveLength(1001)
  expect(JSON.parse(lines.at(-1)!)).toEqual({ more: 1000 })
})
