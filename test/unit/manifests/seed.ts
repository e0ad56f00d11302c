/** Manifests and contexts to build tests on. */
import type { CompileContext } from "../../../src/manifests/index.ts"

/** The seed's own form, every role with the original's program. */
export const seedManifest = `api_version: v1
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
post_run:
  analyze: true
`

/** troupe's own form: commands, no profile, no network. */
export const commandManifest = `api_version: v1
run_id: speed
roles:
  server:
    command: [iperf3, -s, -1]
    readiness:
      method: stdout_match
      pattern: Server listening
  client:
    command: iperf3
    args: [-c, "\${roles.server.address}", -J]
`

const digit = (character: string): string => character.repeat(64)

export function aContext(changes: Partial<CompileContext> = {}): CompileContext {
  return {
    documents: {
      manifest: { digest: digit("a"), bytes: 400 },
      profile: { digest: digit("b"), bytes: 8000, absolute: "/home/me/profiles/tank.yaml" },
    },
    agents: {},
    entryNode: "alpha",
    nodeNames: ["alpha", "beta", "gamma"],
    now: Date.UTC(2026, 0, 13, 14, 30, 5),
    analyze: true,
    diff: true,
    toolVersion: "0.1.0",
    controller: { os: "linux", arch: "x64" },
    ...changes,
  }
}
