/** `troupe node doctor` on this machine. */
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import { join } from "node:path"
import { expect, onTestFinished, test } from "vitest"
import { aDirectory, start, troupe } from "./command.ts"

interface Diagnosis {
  readonly kind: string
  readonly failed: number
  readonly findings: readonly {
    check: string
    status: "ok" | "warn" | "fail"
    says: string
    remedy?: string
  }[]
}

async function examined(...args: string[]) {
  const { code, stdout } = await troupe(["node", "doctor", "-o", "json", ...args])
  const diagnosis = JSON.parse(stdout) as Diagnosis
  const of = (check: string) => diagnosis.findings.find((one) => one.check === check)
  return { code, diagnosis, of }
}

async function aPort(): Promise<{ port: number; close: () => Promise<void> }> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const close = async () => {
    await new Promise((resolve) => server.close(resolve))
  }
  onTestFinished(close)
  return { port: (server.address() as AddressInfo).port, close }
}

const anyPorts = ["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"]

test("an empty place is well, is looked at without a trace, and whatever is not ok has a remedy", async () => {
  const directory = aDirectory()
  const { code, diagnosis, of } = await examined("--data", join(directory, "data"), ...anyPorts)
  expect(code).toBe(0)
  expect(diagnosis).toMatchObject({ kind: "Diagnosis", failed: 0 })
  expect(of("data directory")?.says).toContain("will be made")
  expect(of("disk sync")?.says).toMatch(/^median \d+\.\d ms, worst of 20 \d+\.\d ms/)
  expect(of("cluster")?.says).toContain("no node is running here")
  for (const finding of diagnosis.findings) {
    expect(finding.status === "ok", finding.check).toBe(finding.remedy === undefined)
  }
  expect(readdirSync(directory)).toEqual([])
})

test("an address that others can reach is looked at, not refused: nothing is opened there", async () => {
  const data = join(aDirectory(), "data")
  const { diagnosis, of } = await examined(
    "--data",
    data,
    "--listen",
    "0.0.0.0:0",
    "--api",
    "0.0.0.0:0",
  )
  expect(diagnosis.kind).toBe("Diagnosis")
  expect(of("mesh port")).toBeDefined()
})

test("a key that others can read fails, a directory that others can read is warned of", async () => {
  const data = aDirectory()
  mkdirSync(join(data, "identity"))
  writeFileSync(join(data, "identity", "key.ed25519"), "")
  chmodSync(join(data, "identity", "key.ed25519"), 0o644)
  chmodSync(data, 0o755)
  const { code, diagnosis, of } = await examined("--data", data, ...anyPorts)
  expect(code).toBe(5)
  expect(diagnosis.failed).toBe(1)
  expect(of("identity")?.remedy).toContain("chmod 600")
  expect(of("data directory")).toMatchObject({ status: "warn", remedy: `chmod 700 ${data}` })
})

test("a port that somebody has: who it is", async ({ skip }) => {
  skip(process.platform !== "linux", "only Linux tells who has a port")
  const { port } = await aPort()
  const { code, of } = await examined(
    "--data",
    aDirectory(),
    "--listen",
    "127.0.0.1:0",
    "--api",
    `127.0.0.1:${port}`,
  )
  expect(code).toBe(5)
  expect(of("api port")?.says).toContain(`${port} is taken by process ${process.pid} (`)
  expect(of("mesh port")?.status).toBe("ok")
})

test("a running node is asked: its port is its own, its versions and its cluster are told", async () => {
  const data = join(aDirectory(), "data")
  const { port, close } = await aPort()
  await close()
  const where = ["--data", data, "--listen", "127.0.0.1:0", "--api", `127.0.0.1:${port}`]
  const node = start(["node", "start", ...where, "--no-mdns", "--log-level", "error"])
  await node.says("is up")
  const { code, of } = await examined(...where)
  expect(of("data directory")?.says).toContain(`process ${node.child.pid} runs in it`)
  expect(of("api port")).toMatchObject({ status: "ok", says: `${port} is this node's` })
  expect(of("versions")?.status).toBe("ok")
  expect(of("identity")?.says).toMatch(/^member \d+ of cluster /)
  expect(code).toBe(0)
  await troupe(["node", "stop", "--data", data])
})

test("for people: a line for each, and its remedy below", async () => {
  const data = aDirectory()
  chmodSync(data, 0o755)
  const { code, stdout } = await troupe(["node", "doctor", "--data", data, ...anyPorts])
  expect(code).toBe(0)
  expect(stdout).toMatch(/^ok {4}node +v\d+/)
  expect(stdout).toMatch(/\nwarn {2}data directory .*\n +→ chmod 700 /)
})

test("a wrong configuration is a mistake of usage", async () => {
  const { code, stderr } = await troupe(["node", "doctor", "--listen", "nowhere"])
  expect(code).toBe(2)
  expect(stderr).toContain("listen")
})
