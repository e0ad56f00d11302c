/** How fast this machine is just now: figures of different days and machines are compared through it. */
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { once } from "node:events"
import { closeSync, fdatasyncSync, openSync, writeSync } from "node:fs"
import { connect, createServer } from "node:net"
import { join } from "node:path"
import { quantile, rounded } from "./summary.ts"

export interface Calibration {
  /** /bin/true from Node, one after the other. */
  readonly spawnsPerSecond: number
  readonly sha256MBPerSecond: number
  /** 512 bytes appended. */
  readonly fdatasyncMs: number
  /** One byte over TCP and back. */
  readonly roundTripMs: number
  readonly load1: number
}

const spanMs = 300

/** About 1.3 seconds. `directory` is on the disk that the nodes use. */
export async function calibrate(directory: string, load1: number): Promise<Calibration> {
  return {
    spawnsPerSecond: Math.round(await spawnRate()),
    sha256MBPerSecond: Math.round(hashRate()),
    fdatasyncMs: rounded(syncTime(directory)),
    roundTripMs: rounded(await roundTripTime()),
    load1: rounded(load1),
  }
}

async function spawnRate(): Promise<number> {
  const begun = performance.now()
  let count = 0
  while (performance.now() - begun < spanMs) {
    await once(spawn("/bin/true", { stdio: "ignore" }), "exit")
    count++
  }
  return (count * 1000) / (performance.now() - begun)
}

function hashRate(): number {
  const block = Buffer.alloc(65_536, "x")
  const begun = performance.now()
  let count = 0
  while (performance.now() - begun < spanMs) {
    createHash("sha256").update(block).digest()
    count++
  }
  return (count * block.length) / 1000 / (performance.now() - begun)
}

function syncTime(directory: string): number {
  const file = openSync(join(directory, "calibration"), "w")
  const samples: number[] = []
  try {
    const begun = performance.now()
    while (performance.now() - begun < spanMs) {
      const start = performance.now()
      writeSync(file, Buffer.alloc(512, "x"))
      fdatasyncSync(file)
      samples.push(performance.now() - start)
    }
  } finally {
    closeSync(file)
  }
  return quantile(samples, 0.5)
}

async function roundTripTime(): Promise<number> {
  const server = createServer((socket) => socket.setNoDelay(true).pipe(socket))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("a TCP port was asked for")
  const socket = connect(address.port, "127.0.0.1").setNoDelay(true)
  const samples: number[] = []
  try {
    await once(socket, "connect")
    const begun = performance.now()
    while (performance.now() - begun < spanMs) {
      const start = performance.now()
      socket.write("x")
      await once(socket, "data")
      samples.push(performance.now() - start)
    }
  } finally {
    socket.destroy()
    server.close()
  }
  return quantile(samples, 0.5)
}
