/** Meshes on hosts of their own: mDNS, clusters by name, a pulled cable. Needs root, else skipped with the reason. */
import { join } from "node:path"
import { afterEach, describe, expect, test } from "vitest"
import { makeHosts, type Host, whyNoHosts } from "../../support/hosts.ts"
import type { TalkingProcess } from "../../support/processes.ts"

const program = join(import.meta.dirname, "../../support/mesh-process.ts")
const why = whyNoHosts()
const cleanups: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

async function hosts(count: number) {
  const made = await makeHosts(count)
  cleanups.push(() => made.close())
  return made
}

interface Running {
  readonly child: TalkingProcess
  readonly peerId: string
  readonly addresses: readonly string[]
}

async function startMesh(host: Host, options: object = {}): Promise<Running> {
  const defaults = { listen: ["/ip4/0.0.0.0/tcp/8771"], cluster: "hosts", seeds: [], mdns: true }
  const all = JSON.stringify({ ...defaults, joins: true, ...options })
  const child = host.start(process.execPath, [program, all])
  const { peerId, addresses } = await child.hears(({ event }) => event === "started")
  return { child, peerId: String(peerId), addresses: addresses as string[] }
}

function connected(to: Running) {
  return (said: { event: string; peerId?: unknown }) =>
    said.event === "connected" && said.peerId === to.peerId
}

describe.skipIf(why !== undefined)(`hosts${why === undefined ? "" : ` (skipped: ${why})`}`, () => {
  test("three find and connect to each other by mDNS, and hear each other's facts", async () => {
    const { hosts: three } = await hosts(3)
    const running = await Promise.all(three.map((host) => startMesh(host)))
    expect(running.map(({ addresses }) => addresses)).toEqual(
      three.map((host) => [`/ip4/${host.address}/tcp/8771`]),
    )
    for (const one of running) {
      for (const other of running) if (one !== other) await one.child.hears(connected(other))
    }
    const [first, second] = running as [Running, Running]
    const heard = second.child.hears(
      ({ event, from }) => event === "facts" && from === first.peerId,
    )
    // Gossip needs a moment to find out who listens.
    const talking = setInterval(() => first.child.say("hello"), 100)
    try {
      expect((await heard)["facts"]).toEqual({ line: "hello" })
    } finally {
      clearInterval(talking)
    }
  })

  test("clusters of other names are not seen; a seed joins without mDNS", async () => {
    const { hosts: four } = await hosts(4)
    const [a, other, b] = [
      await startMesh(four[0]!),
      await startMesh(four[1]!, { cluster: "another" }),
      await startMesh(four[2]!),
    ]
    await b.child.hears(connected(a))
    const seed = `${four[0]!.address}:8771`
    const joined = await startMesh(four[3]!, { mdns: false, seeds: [seed] })
    await joined.child.hears(connected(a))
    for (const { child } of [a, b, joined]) {
      expect(child.said.filter(({ peerId }) => peerId === other.peerId)).toEqual([])
    }
    expect(other.child.said.map(({ event }) => event)).toEqual(["started"])
  })

  test("a pulled cable is silence, a killed process is not; both come back", async () => {
    const net = await hosts(2)
    const [one, two] = net.hosts as [Host, Host]
    const [a, b] = [await startMesh(one), await startMesh(two)]
    await a.child.hears(connected(b))
    await two.unplug()
    const lost = await a.child.hears(({ event }) => event === "disconnected")
    expect(lost).toMatchObject({ peerId: b.peerId, refused: false })
    const before = a.child.said.length
    await net.heal()
    // Found anew by the next mDNS query.
    await a.child.hears(connected(b), before)
    const then = a.child.said.length
    await b.child.kill("SIGKILL")
    const dead = await a.child.hears(({ event }) => event === "disconnected", then)
    expect(dead).toMatchObject({ peerId: b.peerId, refused: true })
  })

  test("a partition divides, and its healing unites", async () => {
    const net = await hosts(3)
    const running = await Promise.all(net.hosts.map((host) => startMesh(host)))
    const [a, b, c] = running as [Running, Running, Running]
    for (const other of [b, c]) await a.child.hears(connected(other))
    await b.child.hears(connected(c))
    await net.partition(net.hosts.slice(0, 2), net.hosts.slice(2))
    const lost = await c.child.hears(
      ({ event, peerId }) => event === "disconnected" && peerId === a.peerId,
    )
    expect(lost).toMatchObject({ refused: false })
    const before = c.child.said.length
    await net.heal()
    await c.child.hears(connected(a), before)
    expect(
      a.child.said.some(({ event, peerId }) => event === "disconnected" && peerId === b.peerId),
    ).toBe(false)
  })
})
