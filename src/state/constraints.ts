/** What a task needs of a node, checked in the order of schema's Needs: one place for apply, scheduler and explain. */
import { gpusOf, type Member, type Needs } from "../schema/index.ts"

/** `agent: NAME` names a node by its name or its member id. */
function isNamed(member: Member, node: string): boolean {
  return member.name === node || String(member.id) === node
}

/** Memory as people say it, in GiB. */
export function gib(bytes: number): string {
  return `${Math.round((bytes / 2 ** 30) * 10) / 10} GiB`
}

/** `1 GPU`, `2 GPUs`. */
function gpus(count: number): string {
  return `${count} ${count === 1 ? "GPU" : "GPUs"}`
}

/** A need that a member does not meet. */
export interface Unmet {
  /** Place of the need in the order of checking, from 0; steps of needs that are met lie before it. */
  readonly step: number
  readonly need: keyof Needs
  /** A clause that follows the member's name: `has 4 cores, 8 are needed`. */
  readonly reason: string
}

type Check = (needs: Needs, member: Member) => string | undefined

/** The checks in the order of schema's Needs: each gives a clause when its need is not met. */
const checks: Readonly<Record<keyof Needs, Check>> = {
  node: ({ node }, member) =>
    node === undefined || isNamed(member, node) ? undefined : `is not the named node ${node}`,
  os: ({ os }, member) =>
    os === undefined || os === member.os ? undefined : `runs ${member.os}, ${os} is needed`,
  arch: ({ arch }, member) =>
    arch === undefined || arch === member.arch ? undefined : `is ${member.arch}, ${arch} is needed`,
  cores: ({ cores = 0 }, member) =>
    cores <= member.cores ? undefined : `has ${member.cores} cores, ${cores} are needed`,
  memoryBytes: ({ memoryBytes = 0 }, member) =>
    memoryBytes <= member.memoryBytes
      ? undefined
      : `has ${gib(member.memoryBytes)} of memory, ${gib(memoryBytes)} is needed`,
  gpus: ({ gpus: asked = 0 }, member) =>
    asked <= gpusOf(member.labels)
      ? undefined
      : `has ${gpus(gpusOf(member.labels))}, ${asked} ${asked === 1 ? "is" : "are"} needed`,
  labels: ({ labels = {} }, member) => {
    const own = new Map(Object.entries(member.labels))
    const unmet = Object.entries(labels).find(([key, value]) => own.get(key) !== value)
    if (unmet === undefined) return undefined
    const [key, value] = unmet
    const has = own.has(key) ? `label ${key}=${own.get(key)}` : `no label ${key}`
    return `has ${has}, ${key}=${value} is needed`
  },
  tools: ({ tools = [] }, member) => {
    const missing = tools.find((tool) => !member.tools.includes(tool))
    return missing === undefined ? undefined : `has no ${missing} on its PATH`
  },
}

const inOrder = Object.entries(checks) as readonly (readonly [keyof Needs, Check])[]

/** The first need that this member does not meet; undefined when it meets all. */
export function firstUnmet(needs: Needs, member: Member): Unmet | undefined {
  for (const [step, [need, check]] of inOrder.entries()) {
    const reason = check(needs, member)
    if (reason !== undefined) return { step, need, reason }
  }
  return undefined
}
