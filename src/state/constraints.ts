/** What a task needs of a node, checked in the order of schema's Needs: one place for apply, scheduler and explain. */
import type { Member, Needs } from "../schema/index.ts"

/** `agent: NAME` names a node by its name or its member id. */
export function isNamed(member: Member, node: string): boolean {
  return member.name === node || String(member.id) === node
}

function gib(bytes: number): string {
  return `${Math.round((bytes / 2 ** 30) * 10) / 10} GiB`
}

/** The first constraint that this member fails, as a clause (`has 4 cores, 8 are needed`); undefined when it fits. */
export function firstUnmet(needs: Needs, member: Member): string | undefined {
  if (needs.node !== undefined && !isNamed(member, needs.node)) {
    return `is not the named node ${needs.node}`
  }
  if (needs.os !== undefined && member.os !== needs.os) {
    return `runs ${member.os}, ${needs.os} is needed`
  }
  if (needs.arch !== undefined && member.arch !== needs.arch) {
    return `is ${member.arch}, ${needs.arch} is needed`
  }
  if (needs.cores !== undefined && member.cores < needs.cores) {
    return `has ${member.cores} cores, ${needs.cores} are needed`
  }
  if (needs.memoryBytes !== undefined && member.memoryBytes < needs.memoryBytes) {
    return `has ${gib(member.memoryBytes)} of memory, ${gib(needs.memoryBytes)} is needed`
  }
  for (const [key, value] of Object.entries(needs.labels ?? {})) {
    const own = Object.hasOwn(member.labels, key) ? member.labels[key] : undefined
    if (own !== value)
      return `has ${own === undefined ? "no label" : "label"} ${key}${own === undefined ? "" : `=${own}`}, ${key}=${value} is needed`
  }
  const missing = needs.tools?.find((tool) => !member.tools.includes(tool))
  if (missing !== undefined) return `has no ${missing} on its PATH`
  return undefined
}
