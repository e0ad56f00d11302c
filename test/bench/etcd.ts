/** Three etcd members with their defaults on loopback, as the peer of the consensus figures. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { join } from "node:path"
import type { Bench } from "./figure.ts"
import { bareEnvironment } from "./mesh.ts"
import { eventually } from "./waiting.ts"

export interface Member {
  readonly port: number
  readonly pid: number
  readonly running: boolean
  start(): void
  kill(): Promise<void>
}

export interface Etcd {
  readonly members: readonly Member[]
  leader(): Promise<Member>
  /** All members answer, under one leader, and none is behind. */
  steady(): Promise<void>
  end(): Promise<void>
}

const host = "127.0.0.1"
const clientBase = 27_379
const peerBase = 27_479
const numbers = [1, 2, 3]

/** The version, or undefined where there is no etcd. */
export function etcdVersion(): string | undefined {
  const { status, stdout } = spawnSync("etcd", ["--version"], { encoding: "utf8" })
  return status === 0 ? /etcd Version: (\S+)/.exec(stdout)?.[1] : undefined
}

export async function startEtcd(bench: Bench): Promise<Etcd> {
  const directory = mkdtempSync(join(bench.program.directory, "etcd-"))
  const members = numbers.map((number) => createMember(directory, number))
  const end = async (): Promise<void> => {
    await Promise.all(members.map((member) => member.kill()))
    rmSync(directory, { recursive: true, force: true })
  }
  bench.onEnd(end)
  for (const member of members) member.start()
  const steady = async (): Promise<void> => {
    await eventually("etcd to be steady", async () => {
      const all = await Promise.all(members.map(({ port }) => statusOf(port)))
      const indexes = all.map(({ raftIndex }) => Number(raftIndex))
      const isClose = Math.max(...indexes) - Math.min(...indexes) < 10
      return (isClose && all.every(({ leader }) => leader === all[0]!.leader)) || undefined
    })
  }
  await steady()
  return {
    members,
    steady,
    end,
    leader: async () =>
      await eventually("a leader of etcd", async () => {
        for (const member of members.filter(({ running }) => running)) {
          const { leader, header } = await statusOf(member.port)
          if (leader === header.member_id) return member
        }
        return undefined
      }),
  }
}

interface Status {
  readonly header: { readonly member_id: string }
  readonly leader: string
  readonly raftIndex: string
}

async function statusOf(port: number): Promise<Status> {
  const signal = AbortSignal.timeout(1000)
  const options = { method: "POST", body: "{}", signal }
  const answer = await fetch(`http://${host}:${port}/v3/maintenance/status`, options)
  const status = (await answer.json()) as Partial<Status>
  if (!status.header || status.leader === undefined) throw new Error("no leader yet")
  return { header: status.header, leader: status.leader, raftIndex: status.raftIndex ?? "0" }
}

function createMember(directory: string, number: number): Member {
  const port = clientBase + number
  const client = `http://${host}:${port}`
  const peer = (of: number): string => `http://${host}:${peerBase + of}`
  const flags = {
    name: `m${number}`,
    "data-dir": join(directory, `m${number}`),
    "listen-client-urls": client,
    "advertise-client-urls": client,
    "listen-peer-urls": peer(number),
    "initial-advertise-peer-urls": peer(number),
    "initial-cluster": numbers.map((of) => `m${of}=${peer(of)}`).join(","),
    "log-level": "error",
  }
  const line = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])
  let child: ChildProcess | undefined
  let gone: Promise<void> = Promise.resolve()
  return {
    port,
    get pid() {
      return child?.pid ?? Number.NaN
    },
    get running() {
      return child !== undefined
    },
    start() {
      const started = spawn("etcd", line, { stdio: "ignore", env: bareEnvironment() })
      child = started
      gone = new Promise((resolve) => {
        const ended = (): void => {
          if (child === started) child = undefined
          resolve()
        }
        started.once("exit", ended)
        started.once("error", ended)
      })
    },
    async kill() {
      child?.kill("SIGKILL")
      await gone
    },
  }
}
