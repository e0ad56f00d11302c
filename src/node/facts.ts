/** What a node says of itself: its declaration (replicated) and its facts (gossip). */
import type { Facts, MemberDeclaration } from "../schema/index.ts"
import type { NodeContext } from "./context.ts"
import type { NodeOptions } from "./options.ts"
import type { Parts } from "./parts.ts"

let sequence = 0

export function factsOf(context: NodeContext, running: number): Facts {
  const { options, parts } = context
  const { host, mesh } = parts
  return {
    peerId: mesh.peerId,
    name: options.name,
    sequence: ++sequence,
    boot: context.boot(),
    version: options.version,
    os: host.os,
    arch: host.arch,
    cores: host.cores,
    memoryBytes: host.memoryBytes,
    ...host.sample(),
    labels: { ...options.labels },
    tools: [...host.tools()],
    running,
    capacity: options.capacity,
    api: options.apiUrl,
  }
}

export function declarationOf(options: NodeOptions, parts: Parts): MemberDeclaration {
  const { host, mesh } = parts
  return {
    peerId: mesh.peerId,
    name: options.name,
    addresses: [...mesh.addresses()],
    voter: options.voter,
    os: host.os,
    arch: host.arch,
    cores: host.cores,
    memoryBytes: host.memoryBytes,
    labels: { ...options.labels },
    tools: [...host.tools()],
    capacity: options.capacity,
  }
}
