/** dispatch: from the first byte of a submit to the first instruction of its process on another node. */
import type { Bench, Figure, Measured } from "../figure.ts"
import { untilLate } from "../figure.ts"
import { startFloor } from "../floor.ts"
import { type MeshNode, startMesh } from "../mesh.ts"
import { ended, oneRole, output, submit } from "../runs.ts"
import { startSsh } from "../ssh.ts"
import { anchorClock } from "../waiting.ts"

/** The process that is started writes when it started. */
const command = ["date", "+%s%N"]
const warmUp = 5

export const dispatch: Figure = {
  name: "dispatch",
  about:
    "submit over REST → process started on another node, quorum fsync included; peers: ssh, floor",
  run: measure,
}

interface Sample {
  readonly started: number
  readonly accepted: number
  readonly run: number
}

async function measure(bench: Bench): Promise<readonly Measured[]> {
  const mesh = await startMesh(bench, 3)
  const leader = await mesh.leader()
  const [entry, target] = mesh.nodes.filter((node) => node !== leader)
  const floor = await startFloor(bench)
  const ssh = await startSsh(bench)
  const early = untilLate(bench)
  const atLeader: Sample[] = []
  const atFollower: Sample[] = []
  const floorSamples: number[] = []
  const sshSamples: number[] = []
  // One of each in turn, so that all meet the same neighbours on this machine.
  for (let round = -warmUp; round < (bench.n ?? 60) && (round < 1 || early()); round++) {
    const one = await submitted(`leader-${round}`, leader, target!)
    const other = await submitted(`follower-${round}`, entry!, target!)
    const below = await sinceNow(() => floor.run(command))
    const remote = ssh && (await sinceNow(() => ssh.run(command)))
    if (round < 0) continue
    atLeader.push(one)
    atFollower.push(other)
    floorSamples.push(below)
    if (remote !== undefined) sshSamples.push(remote)
  }
  await floor.end()
  await ssh?.end()
  await mesh.end()

  const floorPeer = { name: "floor", samples: floorSamples }
  const peer = sshSamples.length > 0 ? { name: "ssh", samples: sshSamples } : floorPeer
  return [
    row(
      "at-leader",
      atLeader.map(({ started }) => started),
      peer,
    ),
    row(
      "at-follower",
      atFollower.map(({ started }) => started),
      peer,
    ),
    row(
      "accepted.at-leader",
      atLeader.map(({ accepted }) => accepted),
    ),
    row(
      "accepted.at-follower",
      atFollower.map(({ accepted }) => accepted),
    ),
    row(
      "whole-run",
      atLeader.map(({ run }) => run),
    ),
    row("ssh", sshSamples, floorPeer),
    row("floor", floorSamples),
  ]
}

function row(figure: string, samples: readonly number[], peer?: Measured["peer"]): Measured {
  return { figure: `dispatch.${figure}`, unit: "ms", samples, peer }
}

async function submitted(label: string, entry: MeshNode, target: MeshNode): Promise<Sample> {
  const run = oneRole(label, { command, node: target.name })
  const now = anchorClock()
  const begun = now()
  const { id } = await submit(entry.api, run)
  const accepted = now() - begun
  const view = await ended(entry.api, id)
  if (view.verdict !== "succeeded") throw new Error(`${label}: ${view.verdict}: ${view.reason}`)
  const started = Number(await output(entry.api, id)) / 1e6 - begun
  return { started, accepted, run: (view.endedAt ?? Number.NaN) - view.createdAt }
}

async function sinceNow(run: () => Promise<string>): Promise<number> {
  const now = anchorClock()
  const begun = now()
  return Number(await run()) / 1e6 - begun
}
