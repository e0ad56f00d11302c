/** One role of a run manifest: what it runs, where, and how it says that it is ready. */
import { nearest } from "../lib/index.ts"
import type { Needs } from "../schema/index.ts"
import type { Reading } from "./document.ts"
import { readLimits } from "./limits.ts"
import { readReadiness } from "./readiness.ts"
import {
  fieldAt,
  readEnum,
  readInt,
  readScalars,
  readSection,
  readText,
  readTexts,
  report,
  requireField,
  type Section,
  shapeOf,
  warn,
} from "./reader.ts"
import { type ArgsSpec, lives, personalities, type RoleSpec, seedRoles } from "./spec.ts"
import { parseSize } from "./size.ts"

const roleNamePattern = /^[a-z][a-z0-9_-]{0,62}$/
/** The engine's own groups of every run. */
const reservedPattern = /^(?:bundle|analyze|diff|seal|(?:stage|collect)-.*)$/
const envNamePattern = /^[A-Za-z_][A-Za-z0-9_]*$/
const rolesMax = 64

const roleKeys = [
  "agent",
  "mode",
  "personality",
  "args",
  "scenario",
  "profile_role",
  "duration_seconds",
  "interval_ms",
  "command",
  "env",
  "artifacts",
  "needs",
  "limits",
  "life",
  "readiness",
  "port",
] as const
const seedOnlyKeys = [
  "personality",
  "scenario",
  "profile_role",
  "duration_seconds",
  "interval_ms",
] as const
const needsKeys = ["node", "os", "arch", "cores", "memory", "labels", "tools"] as const

/** Node's own names, and what people write for them. */
const osNames: Readonly<Record<string, string>> = { macos: "darwin", windows: "win32" }
const archNames: Readonly<Record<string, string>> = {
  amd64: "x64",
  x86_64: "x64",
  aarch64: "arm64",
  "386": "ia32",
  i386: "ia32",
  x86: "ia32",
}
/** What Node calls the platforms that it runs on: nothing else can ever fit. */
const osKnown = ["aix", "android", "darwin", "freebsd", "linux", "openbsd", "sunos", "win32"]
const archKnown = [
  "arm",
  "arm64",
  "ia32",
  "loong64",
  "mips",
  "mipsel",
  "ppc64",
  "riscv64",
  "s390x",
  "x64",
]

/** `seed` names those that run the original's program, which needs more said. */
export function readRoles(
  reading: Reading,
  root: Section,
): { readonly roles: RoleSpec[]; readonly seed: ReadonlySet<string> } {
  const section = readSection(reading, { section: root, key: "roles" }, undefined)
  if (section.fields.size > rolesMax) {
    report(reading, section, `has ${section.fields.size} roles; at most ${rolesMax} are run`)
    return { roles: [], seed: new Set() }
  }
  const read = [...section.fields.keys()].map((name) => readRole(reading, section, name))
  const seed = new Set(read.flatMap(({ role, isSeed }) => (isSeed ? [role.name] : [])))
  return { roles: read.map(({ role }) => role), seed }
}

function readRole(
  reading: Reading,
  roles: Section,
  name: string,
): { readonly role: RoleSpec; readonly isSeed: boolean } {
  const at = fieldAt(reading, roles, name)
  if (!roleNamePattern.test(name)) {
    report(reading, at, "a role's name is a-z first, then a-z, 0-9, - or _; at most 63 characters")
  } else if (reservedPattern.test(name)) {
    report(reading, at, `the name '${name}' is taken by a step of every run; choose another`)
  }
  const section = readSection(reading, { section: roles, key: name }, roleKeys)
  const command = readCommand(reading, section)
  const role: RoleSpec = {
    name,
    agent: readText(reading, section, "agent"),
    command,
    args: readArgs(reading, section),
    env: readEnv(reading, section),
    artifacts: readGlobs(reading, section, "artifacts"),
    needs: readNeeds(reading, section),
    limits: readLimits(reading, section),
    life:
      readEnum(reading, section, { key: "life", values: lives }) ??
      (name === "server" ? "server" : "batch"),
    readiness: readReadiness(reading, section),
    port: readInt(reading, section, { key: "port", min: 1, max: 65_535 }),
    mode: readText(reading, section, "mode"),
    personality: readEnum(reading, section, { key: "personality", values: personalities }),
    scenario: readText(reading, section, "scenario"),
    profileRole: readText(reading, section, "profile_role"),
    durationSeconds: readInt(reading, section, {
      key: "duration_seconds",
      min: 1,
      max: 10_000_000,
      tooSmall: "must be > 0",
    }),
    intervalMs: readInt(reading, section, { key: "interval_ms", min: 0, max: 1_000_000_000 }),
  }
  const lacksCommand = shapeOf(section, "command") === "absent"
  // A misspelt `command` was said already, and was meant to be one.
  const isSeed = lacksCommand && !section.meant.has("command") && isSeedRole(name)
  if (isSeed) checkSeedRole(reading, section, role)
  else if (lacksCommand) requireCommand(reading, section, name)
  else checkCommandRole(reading, section)
  if (role.readiness && role.life === "batch") {
    const message = "has no effect: nothing waits for this role; say `life: server` if it serves"
    warn(reading, fieldAt(reading, section, "readiness"), message)
  }
  return { role, isSeed }
}

function isSeedRole(name: string): boolean {
  return seedRoles.some((role) => role === name)
}

function requireCommand(reading: Reading, section: Section, name: string): void {
  const guess = nearest(name, seedRoles)
  const advice = guess === undefined ? "" : `; or did you mean the role '${guess}'?`
  const message = `required: only server and client have a program of their own; write command: [program, argument]${advice}`
  requireField(reading, section, "command", message)
}

/** A role without `command` runs the original's program, which knows two roles. */
function checkSeedRole(reading: Reading, section: Section, role: RoleSpec): void {
  const missing = (key: string): boolean => shapeOf(section, key) === "absent"
  if (missing("agent")) requireField(reading, section, "agent")
  if (role.name === "server") return
  if (missing("scenario")) requireField(reading, section, "scenario")
  if (role.scenario === "profile" && missing("profile_role")) {
    requireField(reading, section, "profile_role", "required when scenario is 'profile'")
  }
  if (missing("duration_seconds")) {
    requireField(reading, section, "duration_seconds", "must be > 0")
  }
}

function checkCommandRole(reading: Reading, section: Section): void {
  for (const key of seedOnlyKeys) {
    if (shapeOf(section, key) === "absent") continue
    const message = "has no effect beside `command`: write it into `args`"
    warn(reading, fieldAt(reading, section, key), message)
  }
}

function readCommand(reading: Reading, section: Section): readonly string[] | undefined {
  const shape = shapeOf(section, "command")
  if (shape === "absent") return undefined
  const mistakes = reading.issues.length
  const command =
    shape === "list"
      ? readTexts(reading, section, "command")
      : [readText(reading, section, "command") ?? ""]
  // What is no text was said already.
  if (reading.issues.length > mistakes) return undefined
  const at = fieldAt(reading, section, "command")
  const program = command?.[0] ?? ""
  if (program === "") {
    report(reading, at, "must name a program; write command: [program, argument]")
    return undefined
  }
  if (shape === "scalar" && /\s/.test(program)) {
    const list = program.trim().split(/\s+/).join(", ")
    report(reading, at, `is one program and not a shell line; write command: [${list}]`)
  }
  return command
}

function readArgs(reading: Reading, section: Section): ArgsSpec | undefined {
  const shape = shapeOf(section, "args")
  if (shape === "absent") return undefined
  if (shape === "list") return { list: readTexts(reading, section, "args") ?? [] }
  if (shape === "map") {
    const scalars = readScalars(reading, section, "args")
    return { map: new Map([...scalars].map(([key, { value }]) => [key, value])) }
  }
  const message = "must be a list or a map; write [--flag, value] or {flag: value}"
  report(reading, fieldAt(reading, section, "args"), message)
  return undefined
}

function readEnv(reading: Reading, section: Section): ReadonlyMap<string, string> {
  const env = new Map<string, string>()
  for (const [name, { text }] of readScalars(reading, section, "env")) {
    const path = `${section.path}.env.${name}`
    const at = { path, place: reading.places.get(path) ?? section.place }
    if (!envNamePattern.test(name)) {
      report(reading, at, "a variable's name is letters, digits and _; no digit first")
    } else if (name.startsWith("TROUPE_")) {
      report(reading, at, "names that begin with TROUPE_ are set by troupe; choose another")
    } else env.set(name, text)
  }
  return env
}

/** Globs that stay inside the attempt's directory. */
export function readGlobs(reading: Reading, section: Section, key: string): readonly string[] {
  const globs = readTexts(reading, section, key) ?? []
  for (const [index, glob] of globs.entries()) {
    if (!glob.startsWith("/") && !glob.split(/[/\\]/).includes("..") && glob !== "") continue
    const at = fieldAt(reading, section, `${key}[${index}]`)
    report(reading, at, "must be a pattern inside the role's directory; write e.g. out/*.json")
  }
  return globs
}

function checkKnown(
  reading: Reading,
  section: Section,
  field: {
    readonly key: string
    readonly value: string | undefined
    readonly names: Readonly<Record<string, string>>
    readonly known: readonly string[]
  },
): void {
  const { key, value, names, known } = field
  if (value === undefined || known.includes(names[value] ?? value)) return
  const all = [...known, ...Object.keys(names)]
  const guess = nearest(value, all)
  const advice = guess === undefined ? `there are: ${all.join(", ")}` : `did you mean '${guess}'?`
  report(reading, fieldAt(reading, section, key), `unknown ${key} '${value}'; ${advice}`)
}

function readNeeds(reading: Reading, role: Section): Needs {
  const section = readSection(reading, { section: role, key: "needs" }, needsKeys)
  const os = readText(reading, section, "os")?.toLowerCase()
  const arch = readText(reading, section, "arch")?.toLowerCase()
  checkKnown(reading, section, { key: "os", value: os, names: osNames, known: osKnown })
  checkKnown(reading, section, { key: "arch", value: arch, names: archNames, known: archKnown })
  const node = readText(reading, section, "node")
  const cores = readInt(reading, section, { key: "cores", min: 1, max: 100_000 })
  const memory = readText(reading, section, "memory")
  const memoryBytes = memory === undefined ? undefined : parseSize(memory)
  if (memory !== undefined && memoryBytes === undefined) {
    const message = `must be a size, got '${memory}'; write e.g. 512MiB or 2GiB`
    report(reading, fieldAt(reading, section, "memory"), message)
  }
  const labels = readScalars(reading, section, "labels")
  const tools = readTexts(reading, section, "tools")
  return {
    ...(node !== undefined && { node }),
    ...(os !== undefined && { os: osNames[os] ?? os }),
    ...(arch !== undefined && { arch: archNames[arch] ?? arch }),
    ...(cores !== undefined && { cores }),
    ...(memoryBytes !== undefined && { memoryBytes }),
    ...(labels.size > 0 && {
      labels: Object.fromEntries([...labels].map(([key, { text }]) => [key, text])),
    }),
    ...(tools !== undefined && tools.length > 0 && { tools: [...tools] }),
  }
}
