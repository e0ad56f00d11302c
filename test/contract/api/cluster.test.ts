/** Cluster, probes and metrics over real HTTP. */
import { expect, test } from "vitest"
import { ClusterStatus, HealthView } from "../../../src/schema/index.ts"
import { NodeList } from "../../../src/api/schemas.ts"
import { serve } from "./served.ts"

test("nodes and status", async () => {
  const { url } = await serve()
  const nodes = NodeList.parse(await (await fetch(`${url}/v1/nodes`)).json())
  expect(nodes.items.map((node) => node.member.name)).toEqual(["ada", "bob"])
  const status = await Promise.all(
    ["/v1/cluster/status", "/cluster/status"].map(async (path) =>
      ClusterStatus.parse(await (await fetch(url + path)).json()),
    ),
  )
  expect(status[0]).toEqual(status[1])
})

test.each([
  ["ok", 200],
  ["degraded", 200],
  ["no-leader", 503],
  ["joining", 503],
] as const)("health %s is %i for probes and 200 for people", async (status, code) => {
  const { url, face } = await serve()
  face.healthView = { ...face.healthView, status }
  const probe = await fetch(`${url}/health`)
  expect(probe.status).toBe(code)
  expect(HealthView.parse(await probe.json()).status).toBe(status)
  const people = await fetch(`${url}/v1/cluster/health`)
  expect(people.status).toBe(200)
  expect(HealthView.parse(await people.json())).toEqual(face.healthView)
})

test("alive as soon as it answers; ready when the checks say so", async () => {
  const { url, face } = await serve()
  const text = async (path: string) => {
    const answer = await fetch(url + path)
    return [answer.status, await answer.text()]
  }
  face.isReady = false
  expect(await text("/livez")).toEqual([200, "ok\n"])
  expect(await text("/readyz")).toEqual([503, "not ready\n"])
  expect(await text("/readyz?verbose")).toEqual([503, "[+]member\n[-]leader: none\nnot ready\n"])
  face.isReady = true
  expect(await text("/readyz")).toEqual([200, "ok\n"])
  expect(await text("/readyz?verbose=1")).toEqual([200, "[+]member\n[+]leader: ada\nok\n"])
})

test("HEAD answers as GET does, without a body", async () => {
  const { url } = await serve()
  const answer = await fetch(`${url}/health`, { method: "HEAD" })
  expect([answer.status, await answer.text()]).toEqual([200, ""])
})

test("metrics: the face's, the process's, and the count of requests", async () => {
  const { url, face } = await serve()
  face.metricRows = [{ name: "troupe_term", help: "Term.", type: "gauge", value: 4 }]
  await (await fetch(`${url}/v1/runs/r-404`)).text()
  const answer = await fetch(`${url}/metrics`)
  expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8")
  const lines = (await answer.text()).split("\n")
  expect(lines).toContain("troupe_term 4")
  expect(lines).toContain(
    'troupe_http_requests_total{method="GET",route="/v1/runs/:id",status="404"} 1',
  )
  const rss = lines.find((line) => line.startsWith("process_resident_memory_bytes "))
  expect(Number(rss?.split(" ")[1])).toBeGreaterThan(2 ** 20)
})
