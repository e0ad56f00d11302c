/** C-50: every number that a node tells, in a form that Prometheus takes. */
import { expect, test } from "vitest"
import { exposition, RequestCounts } from "../../../src/api/metrics.ts"
import type { Metric } from "../../../src/node/index.ts"
import { type Family, parseExposition } from "../../support/exposition.ts"
import { formCluster, submit } from "../node/formed.ts"

function read(metrics: readonly Metric[]): ReadonlyMap<string, Family> {
  return parseExposition(exposition(metrics))
}

function valueOf(families: ReadonlyMap<string, Family>, name: string): number | undefined {
  return families.get(name)?.samples[0]?.value
}

test("a histogram is cumulative, and ends with everything", () => {
  const families = read([
    {
      name: "troupe_wait_seconds",
      help: "Waiting.",
      type: "histogram",
      labels: { peer: 'b"\\\nb' },
      value: 5,
      sum: 2.5,
      buckets: [
        { atMost: 0.001, count: 2 },
        { atMost: 1, count: 4 },
      ],
    },
  ])
  const { samples } = families.get("troupe_wait_seconds")!
  expect(samples.map(({ name, labels, value }) => [name, labels.get("le"), value])).toEqual([
    ["troupe_wait_seconds_bucket", "0.001", 2],
    ["troupe_wait_seconds_bucket", "1", 4],
    ["troupe_wait_seconds_bucket", "+Inf", 5],
    ["troupe_wait_seconds_sum", undefined, 2.5],
    ["troupe_wait_seconds_count", undefined, 5],
  ])
})

test("the parser of these tests is strict", () => {
  const good = "# HELP a A.\n# TYPE a gauge\na 1\n"
  expect(parseExposition(good).get("a")?.samples).toHaveLength(1)
  for (const bad of [
    "a 1\n",
    "# TYPE a gauge\na 1\n",
    good.slice(0, -1),
    `${good}a 1\n`,
    `${good}# HELP b B.\n# TYPE b gauge\na{x="1"} 1\n`,
    "# HELP a A.\n# TYPE a counter\na 1\n",
    '# HELP a A.\n# TYPE a gauge\na{x="1",x="2"} 1\n',
    "# HELP a A.\n# TYPE a gauge\na one\n",
  ]) {
    expect(() => parseExposition(bad), bad).toThrow(/./)
  }
})

test("C-50: what a leader and a follower tell", async () => {
  const { world, leader } = await formCluster(3)
  const answer = submit(world, leader, "one")
  await world.until("an acknowledgement", 20_000, () => answer.run)
  await world.pass(5000)
  const follower = world.machines.find((machine) => machine !== leader)!
  const counts = new RequestCounts()
  counts.add({ method: "GET", route: "/v1/runs", status: "200" })
  const led = read([...leader.node!.metrics(), ...counts.metrics()])
  const followed = read(follower.node!.metrics())
  expect(valueOf(led, "troupe_is_leader")).toBe(1)
  expect(valueOf(followed, "troupe_is_leader")).toBe(0)
  for (const name of ["troupe_raft_term", "troupe_raft_leader_id", "troupe_raft_commit_index"]) {
    expect(valueOf(followed, name), name).toBe(valueOf(led, name))
  }
  expect(valueOf(led, "troupe_raft_apply_lag_entries")).toBe(0)
  expect(valueOf(led, "troupe_proposals_total")).toBeGreaterThan(0)
  expect(valueOf(followed, "troupe_proposals_total")).toBe(0)
  expect(valueOf(led, "troupe_raft_election_timeout_seconds")).toBe(0.5)
  expect(led.get("troupe_wal_append_seconds")?.type).toBe("histogram")
  expect(led.get("troupe_wal_append_seconds")?.samples.at(-1)?.value).toBeGreaterThan(0)
  expect(valueOf(led, "troupe_wal_pending_age_seconds")).toBe(0)
  // Two peers, each in one of three states.
  const progress = led.get("troupe_peer_progress")!.samples.filter((sample) => sample.value === 1)
  expect(progress.map(({ labels }) => labels.get("state"))).toEqual(["replicate", "replicate"])
  expect(new Set(progress.map(({ labels }) => labels.get("peer"))).size).toBe(2)
  expect(led.get("troupe_peer_rtt_seconds")?.samples).toHaveLength(4)
  expect(followed.has("troupe_peer_progress")).toBe(false)
  expect(led.get("troupe_runs")?.samples.reduce((sum, sample) => sum + sample.value, 0)).toBe(1)
  for (const name of [
    "troupe_loop_delay_seconds",
    "troupe_loop_delay_max_seconds",
    "troupe_raft_term_changes_total",
    "troupe_raft_elections_total",
    "troupe_raft_leader_hints_total",
    "troupe_snapshots_total",
    "troupe_stalls_total",
    "troupe_wal_bytes",
    "troupe_proposals_waiting",
  ]) {
    expect(led.has(name), name).toBe(true)
  }
})
