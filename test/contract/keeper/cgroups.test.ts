/** The cgroups that a spawner waits in, made for real where this host allows it. */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { Berth } from "../../../src/keeper/berth.ts"
import { realCgroups } from "../../../src/keeper/cgroup-files.ts"
import { type Cgroups, findCgroups } from "../../../src/keeper/cgroups.ts"
import { killLimited, limitedMembers } from "../../../src/keeper/limits.ts"

let ours: Cgroups | undefined
const children: ChildProcess[] = []
beforeEach(() => {
  ours = findCgroups(`troupe-test-${process.pid}`)
})
afterEach(async () => {
  for (const child of children.splice(0)) {
    const over = new Promise((resolve) => child.once("exit", resolve))
    if (child.kill("SIGKILL")) await over
  }
  ours?.leave()
  ours?.close()
  if (ours) expect(existsSync(ours.cage.base), "nothing is left behind").toBe(false)
})

function sleeper(): ChildProcess & { pid: number } {
  const child = spawn("sleep", ["1000"], { detached: true, stdio: "ignore" })
  children.push(child)
  return child as ChildProcess & { pid: number }
}

test("a child is born in the cgroup where its parent waits; the next one in another", async ({
  skip,
}) => {
  skip(!ours, "this host has no writable cgroup")
  const cgroups = ours!
  const berth = new Berth(cgroups)
  await berth.renewed()
  const first = berth.name!
  const one = sleeper()
  berth.taken()
  expect(berth.name, "it still stands in the first one's").toBeUndefined()
  await berth.renewed()
  const two = sleeper()
  expect(cgroups.holding(one.pid)).toBe(first)
  expect(cgroups.holding(two.pid)).toBe(berth.name)
  expect(berth.name).not.toBe(first)
})

test("who starts others is no part of a job: not a member, not killed, not in the way", async ({
  skip,
}) => {
  skip(!ours, "this host has no writable cgroup")
  const cgroups = ours!
  const path = cgroups.pathOf(await cgroups.enter())
  const job = sleeper()
  const spawner = sleeper()
  cgroups.staff.add(spawner.pid)
  expect(cgroups.members(path)).toEqual([job.pid])
  expect(cgroups.remove(path), "the job still runs").toBe(false)
  const over = new Promise((resolve) => job.once("exit", (_code, signal) => resolve(signal)))
  cgroups.kill(path)
  expect(await over).toBe("SIGKILL")
  expect(spawner.exitCode ?? spawner.signalCode, "the spawner lives").toBeNull()
  expect(cgroups.remove(path), "the job is over").toBe(true)
  expect(existsSync(path), "its spawner still stands in it").toBe(true)
})

test("v2: all in a limited cgroup die at once, also those in one of their own below it", async ({
  skip,
}) => {
  const unified = findCgroups(`troupe-test-limited-${process.pid}`, "cgroup2")
  skip(!unified, "this host has no writable v2")
  const { base } = unified!.cage
  const [path, below] = [join(base, "job"), join(base, "job", "inner")]
  try {
    for (const directory of [path, below]) realCgroups.make(directory)
    const all = [path, below].map((directory) => {
      const child = sleeper()
      realCgroups.write(join(directory, "cgroup.procs"), String(child.pid))
      return child
    })
    expect(new Set(limitedMembers([path]))).toEqual(new Set(all.map(({ pid }) => pid)))
    expect(realCgroups.remove(path)).toBe(false)
    const over = all.map(
      (child) => new Promise((resolve) => child.once("exit", (_code, signal) => resolve(signal))),
    )
    killLimited([path, join(base, "never-made")], realCgroups)
    expect(await Promise.all(over)).toEqual(["SIGKILL", "SIGKILL"])
    expect(realCgroups.remove(path)).toBe(true)
    expect(limitedMembers([path])).toEqual([])
  } finally {
    unified!.close()
  }
})

test("empty ones of an earlier keeper are swept away, others are not", async ({ skip }) => {
  skip(!ours, "this host has no writable cgroup")
  const cgroups = ours!
  await cgroups.enter()
  const kept = await cgroups.enter()
  cgroups.sweep()
  expect(readdirSync(cgroups.cage.base)).toContain(kept)
  expect(cgroups.holding(process.pid)).toBe(kept)
})

test("a host that refuses another cgroup is named, and asked again the next time", async () => {
  let refuses = true
  const fake = {
    enter: async () => {
      if (refuses) throw new Error("EACCES: permission denied")
      return "berth"
    },
  } as Cgroups
  const berth = new Berth(fake)
  await berth.renewed()
  expect(berth.name).toBeUndefined()
  expect(berth.problem).toContain("EACCES")
  refuses = false
  await berth.renewed()
  expect(berth.name).toBe("berth")
})
