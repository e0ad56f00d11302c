/** The examples that ship with troupe are right, and the program among them measures. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readdirSync, readFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { expect, onTestFinished, test } from "vitest"
import { compileManifest, manifestFiles, parseManifest } from "../../../src/manifests/index.ts"
import { aContext } from "./seed.ts"

const examples = join(import.meta.dirname, "../../../config/examples")
const program = join(examples, "throughput.mjs")

test.each(readdirSync(examples).filter((name) => name.endsWith(".yaml")))("%s compiles", (name) => {
  const text = readFileSync(join(examples, name), "utf8")
  const { manifest, issues, warnings } = parseManifest(text, { file: name, lenient: false })
  expect([...issues, ...warnings]).toEqual([])
  const compiled = compileManifest(manifest!, aContext())
  expect([...compiled.issues, ...compiled.warnings]).toEqual([])
  for (const path of manifestFiles(manifest!)) {
    // Paths are relative to where people stand: the project's directory.
    expect(() => readFileSync(join(examples, "../..", path))).not.toThrow()
  }
})

const reference = readFileSync(join(examples, "../../docs/manifest.md"), "utf8")

test.each([...reference.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text]) => text!))(
  "docs/manifest.md shows what works: %s",
  (text) => {
    const { manifest, issues, warnings } = parseManifest(text, { file: "doc", lenient: false })
    expect([...issues, ...warnings]).toEqual([])
    const context = aContext({ agents: text.includes("A1") ? { A1: "beta" } : {} })
    expect(compileManifest(manifest!, context).issues).toEqual([])
  },
)

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  await once(server, "close")
  return typeof address === "object" && address !== null ? address.port : 0
}

test("throughput.mjs: the server says that it is ready, the client prints what arrived", async () => {
  const port = String(await freePort())
  const args = [program, "server", "--listen", "127.0.0.1", "--port", port]
  const server = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  const serverEnded = once(server, "exit")
  onTestFinished(() => void server.kill("SIGKILL"))
  const [ready] = (await once(createInterface(server.stdout), "line")) as [string]
  expect(ready).toContain('"event":"server_ready"')

  const client = spawn(
    process.execPath,
    [program, "client", "--host", "127.0.0.1", "--port", port, "--seconds", "0.3"],
    { stdio: ["ignore", "pipe", "inherit"] },
  )
  const [line] = (await once(createInterface(client.stdout), "line")) as [string]
  const result = JSON.parse(line) as { bits_per_second: number; bytes: number; seconds: number }
  expect(result.bytes).toBeGreaterThan(0)
  expect(result.bits_per_second).toBeCloseTo((result.bytes * 8) / result.seconds, -1)

  server.kill("SIGTERM")
  expect(await serverEnded).toEqual([0, null])
})

test("throughput.mjs fails in words when nobody listens", async () => {
  const port = String(await freePort())
  const client = spawn(process.execPath, [program, "client", "--port", port], { stdio: "pipe" })
  const [line] = (await once(createInterface(client.stderr), "line")) as [string]
  expect(line).toMatch(/^throughput: .*ECONNREFUSED/)
  expect(await once(client, "exit")).toEqual([1, null])
})
