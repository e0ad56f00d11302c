/** manifest_resolved.yaml, in the original's keys, order and layout. */
import { expect, test } from "vitest"
import { compileManifest, parseManifest, resolvedYaml } from "../../../src/manifests/index.ts"
import type { Plan } from "../../../src/schema/index.ts"
import { aContext, commandManifest, seedManifest } from "./seed.ts"

function plan(text: string): Plan {
  const { manifest } = parseManifest(text, { file: "m.yaml", lenient: false })
  return compileManifest(manifest!, aContext()).plan!
}

test("the seed's form: defaults filled in, the profile inside, argv without the program", () => {
  const text = resolvedYaml(plan(seedManifest), {
    profileContent: "metadata:\n  name: Tank\n\nlast: 1\n",
  })
  expect(text).toBe(`manifest:
    api_version: v1
    run_id: lab-7
    profile:
        path: profiles/tank.yaml
        distribution: inline
    network:
        data_plane:
            server_listen_ip: 127.0.0.1
            target_ip: 127.0.0.1
            target_port: 44818
    roles:
        server:
            agent: local
            personality: adapter
        client:
            agent: local
            scenario: baseline
            duration_seconds: 3
            interval_ms: 250
    readiness:
        method: structured_stdout
        timeout_seconds: 10
    artifacts:
        bundle_format: dir
    post_run:
        analyze: true
resolved_at: "2026-01-13T14:30:05Z"
profile_path: /home/me/profiles/tank.yaml
profile_checksum: sha256:${"b".repeat(64)}
profile_content: |
    metadata:
      name: Tank

    last: 1
server_args:
    - server
    - --listen-ip
    - 127.0.0.1
    - --listen-port
    - "44818"
    - --personality
    - adapter
    - --tui-stats
client_args:
    - client
    - --ip
    - 127.0.0.1
    - --port
    - "44818"
    - --scenario
    - baseline
    - --duration-seconds
    - "3"
    - --interval-ms
    - "250"
    - --tui-stats
tool_version: 0.1.0
controller_os: linux
controller_arch: amd64
`)
})

test("what launching brings replaces what was planned", () => {
  const text = resolvedYaml(plan(commandManifest), {
    label: "speed-2",
    argv: { client: ["iperf3", "-c", "10.0.0.7", "-J"] },
    controller: { os: "win32", arch: "arm64" },
    resolvedAt: Date.UTC(2026, 5, 1),
  })
  const lines = text.split("\n")
  expect(lines).toContain("    run_id: speed-2")
  expect(lines).toContain('resolved_at: "2026-06-01T00:00:00Z"')
  expect(text).toContain("client_args:\n    - -c\n    - 10.0.0.7\n    - -J\n")
  expect(text).toContain('server_args:\n    - -s\n    - "-1"\n')
  expect(text).toContain("controller_os: windows\ncontroller_arch: arm64\n")
  expect(text).not.toContain("profile_")
})

test("the content is inside only for inline profiles, as in the original", () => {
  const pushed = seedManifest.replace("distribution: inline", "distribution: push")
  expect(resolvedYaml(plan(pushed), { profileContent: "a: 1\n" })).not.toContain("profile_content")
})

test("a resolved manifest of troupe's own form reads back as the same manifest", () => {
  const text = `api_version: v1
run_id: "2026"
roles:
  server:
    command: [x, "yes", "0o17"]
    args: {flag: true, name: "null", n: 3}
    env: {A: "on", B: ""}
    needs: {memory: 1GiB, labels: {k: "1"}}
    limits: {memory: 1MiB, cpus: 0.5}
    readiness: {method: stdout_match, pattern: "^ok: \\\\d+$", timeout_seconds: 5}
    port: 99
  two:
    command: y
    artifacts: ["*.txt"]
`
  const first = plan(text)
  const inner = resolvedYaml(first)
    .split("\n")
    .slice(1)
    .filter((line) => line.startsWith("    ") && !line.startsWith("    - "))
    .map((line) => line.slice(4))
    .join("\n")
  const again = plan(`${inner}\n`)
  expect(again.groups).toEqual(first.groups)
  expect(again.label).toBe("2026")
})
