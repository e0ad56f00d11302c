/** The two systems of the consensus figures behind one shape: where to write, whom to hurt, when all is well again. */
import { etcdVersion, startEtcd } from "./etcd.ts"
import type { Bench } from "./figure.ts"
import type { WriterTarget } from "./load/writer.ts"
import { startMesh } from "./mesh.ts"
import { ended, oneRole, submit } from "./runs.ts"

export interface Place {
  readonly target: WriterTarget
  readonly pid: number
  start(): void
  kill(): Promise<void>
}

export interface Contender {
  readonly name: string
  readonly places: readonly Place[]
  leader(): Promise<Place>
  steady(): Promise<void>
  /** p99 of the event loop's delay at the worst node, ms, where there is one. */
  loopDelay(): Promise<number | undefined>
}

export async function startTroupe(bench: Bench): Promise<Contender> {
  const mesh = await startMesh(bench, 3, { onLoopback: true })
  const [first] = mesh.nodes
  const { id } = await submit(
    first!.api,
    oneRole("written", { command: ["true"], node: first!.name }),
  )
  await ended(first!.api, id)
  const places = mesh.nodes.map((node): Place => {
    const { hostname, port } = new URL(node.host.api)
    return {
      target: { system: "troupe", host: hostname, port: Number(port), run: id },
      get pid() {
        return node.pid
      },
      start: () => node.start(),
      kill: () => node.kill(),
    }
  })
  return {
    name: "troupe",
    places,
    leader: async () => places[mesh.nodes.indexOf(await mesh.leader())]!,
    steady: () => mesh.steady(),
    async loopDelay() {
      const views = mesh.nodes.map(({ api }) => api.read<{ loopDelayP99Ms: number }>("/health"))
      return Math.max(...(await Promise.all(views)).map(({ loopDelayP99Ms }) => loopDelayP99Ms))
    },
  }
}

/** Undefined, and said so, where there is no etcd. */
export async function startPeer(bench: Bench): Promise<Contender | undefined> {
  const version = etcdVersion()
  if (version === undefined) {
    bench.say("there is no etcd here (Debian: etcd-server): troupe is measured alone")
    return undefined
  }
  const etcd = await startEtcd(bench)
  const places = etcd.members.map((member): Place => ({
    target: { system: "etcd", host: "127.0.0.1", port: member.port },
    get pid() {
      return member.pid
    },
    start: () => member.start(),
    kill: () => member.kill(),
  }))
  return {
    name: `etcd-${version}`,
    places,
    leader: async () => places[etcd.members.indexOf(await etcd.leader())]!,
    steady: () => etcd.steady(),
    loopDelay: async () => await Promise.resolve(undefined),
  }
}
