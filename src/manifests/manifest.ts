/** Run manifest `api_version: v1`: text → checked spec, with every mistake at its place. */
import { variablesIn } from "../lib/index.ts"
import type { Issue } from "../schema/index.ts"
import { isIpAddress } from "./address.ts"
import { type Reading, readDocument } from "./document.ts"
import { readinessDefault, readReadiness } from "./readiness.ts"
import {
  byPlace,
  fieldAt,
  readBool,
  readEnum,
  readInt,
  readSection,
  readText,
  report,
  requireField,
  type Section,
  shapeOf,
} from "./reader.ts"
import { readGlobs, readRoles } from "./role.ts"
import {
  bundleFormats,
  distributions,
  type ManifestSpec,
  type NetworkSpec,
  type ProfileSpec,
  type RoleSpec,
  targetPortDefault,
} from "./spec.ts"
import { variableIssues } from "./variables.ts"

const rootKeys = [
  "api_version",
  "run_id",
  "seed",
  "profile",
  "network",
  "roles",
  "readiness",
  "artifacts",
  "post_run",
] as const
const dataPlaneKeys = ["client_bind_ip", "server_listen_ip", "target_ip", "target_port"] as const
const runIdPattern = /^[A-Za-z0-9._-]{1,128}$/
const checksumPattern = /^sha256:[0-9a-fA-F]{64}$/

/** What is read of a manifest. `manifest` is there when `issues` is empty. */
export interface ParsedManifest {
  readonly manifest: ManifestSpec | undefined
  readonly issues: Issue[]
  readonly warnings: Issue[]
}

/** Reads a run manifest. With `lenient`, unknown keys are warnings, as the original ignores them. */
export function parseManifest(
  text: string,
  options: { readonly file: string; readonly lenient: boolean },
): ParsedManifest {
  const document = readDocument(text, options)
  if ("failures" in document) {
    return { manifest: undefined, issues: document.failures, warnings: [] }
  }
  const { reading } = document
  const root = readSection(reading, undefined, rootKeys)
  readApiVersion(reading, root)
  const runId = readRunId(reading, root)
  const seed = readInt(reading, root, {
    key: "seed",
    min: Number.MIN_SAFE_INTEGER,
    max: Number.MAX_SAFE_INTEGER,
  })
  // The original's order of messages: profile and network come before the roles that decide what they must hold.
  const profileSection = readSection(reading, { section: root, key: "profile" }, [
    "path",
    "distribution",
    "checksum",
  ])
  const profile = readProfile(reading, profileSection)
  const network = readNetwork(reading, root)
  const { roles: written, seed: seedRoles } = readRoles(reading, root)
  const sections = { root, profile: profileSection, dataPlane: network.section }
  // Without any role, the original's two are what is missing.
  if (seedRoles.size > 0 || written.length === 0) checkSeedNeeds(reading, sections, seedRoles)
  else if (!isMissing(root, "profile") && isMissing(profileSection, "path")) {
    requireField(reading, profileSection, "path")
  }
  if (written.length === 0 && !reading.issues.some((issue) => issue.path.startsWith("roles"))) {
    requireField(reading, root, "roles", "at least one of server or client must be defined")
  }
  const common = readReadiness(reading, root)
  const artifacts = readSection(reading, { section: root, key: "artifacts" }, [
    "bundle_format",
    "include",
  ])
  const postRun = readSection(reading, { section: root, key: "post_run" }, [
    "analyze",
    "diff_baseline",
  ])
  const manifest: ManifestSpec = {
    file: options.file,
    runId,
    seed,
    profile,
    network: network.spec,
    roles: written.map((role) => withReadiness(role, common)),
    readiness: common ?? readinessDefault,
    bundleFormat:
      readEnum(reading, artifacts, { key: "bundle_format", values: bundleFormats }) ?? "dir",
    include: readGlobs(reading, artifacts, "include"),
    analyze: readBool(reading, postRun, "analyze") ?? false,
    diffBaseline: readText(reading, postRun, "diff_baseline"),
    places: reading.places,
  }
  for (const { path, message } of variableIssues(manifest)) {
    reading.issues.push({ path, message, file: options.file, ...reading.places.get(path) })
  }
  return {
    manifest: reading.issues.length === 0 ? manifest : undefined,
    issues: byPlace(reading.issues),
    warnings: byPlace(reading.warnings),
  }
}

/** Paths, as written, of files that the plan needs the bytes of. Relative ones are relative to where the user stands. */
export function manifestFiles(manifest: ManifestSpec): readonly string[] {
  const { profile } = manifest
  return profile && profile.distribution !== "preinstalled" ? [profile.path] : []
}

/** The bundle directory (or packed bundle) to compare with, as written. */
export function manifestBaseline(manifest: ManifestSpec): string | undefined {
  return manifest.diffBaseline
}

function readApiVersion(reading: Reading, root: Section): void {
  const version = readText(reading, root, "api_version")
  const shape = shapeOf(root, "api_version")
  if (version === undefined && (shape === "absent" || shape === "scalar")) {
    requireField(reading, root, "api_version")
  } else if (version !== undefined && version !== "v1") {
    const message = `must be 'v1', got '${version}'`
    report(reading, fieldAt(reading, root, "api_version"), message)
  }
}

function readRunId(reading: Reading, root: Section): string | undefined {
  const runId = readText(reading, root, "run_id")
  if (runId === undefined || runId === "auto") return undefined
  if (!runIdPattern.test(runId) || runId === "." || runId === "..") {
    const message = "must be 1 to 128 of A-Z a-z 0-9 . _ - (it names a directory), not . or .."
    report(reading, fieldAt(reading, root, "run_id"), message)
  }
  return runId
}

function readProfile(reading: Reading, section: Section): ProfileSpec | undefined {
  const path = readText(reading, section, "path")
  const distribution = readEnum(reading, section, { key: "distribution", values: distributions })
  const checksum = readText(reading, section, "checksum")
  if (checksum !== undefined && !checksumPattern.test(checksum)) {
    const message = "must be sha256: and 64 hexadecimal digits, as `sha256sum FILE` prints them"
    report(reading, fieldAt(reading, section, "checksum"), message)
  }
  if (path === undefined) return undefined
  return { path, distribution: distribution ?? "inline", checksum: checksum?.toLowerCase() }
}

function readNetwork(reading: Reading, root: Section): { spec: NetworkSpec; section: Section } {
  const network = readSection(reading, { section: root, key: "network" }, [
    "control_plane",
    "data_plane",
  ])
  const section = readSection(reading, { section: network, key: "data_plane" }, dataPlaneKeys)
  const spec = {
    controlPlane: readText(reading, network, "control_plane"),
    clientBindIp: readText(reading, section, "client_bind_ip"),
    serverListenIp: readIp(reading, section, "server_listen_ip"),
    targetIp: readIp(reading, section, "target_ip"),
    // As the original: 0 is the default.
    targetPort:
      readInt(reading, section, { key: "target_port", min: 0, max: 65_535 }) || targetPortDefault,
  }
  return { spec, section }
}

/** An address, or a text with variables that is checked once they are known. */
function readIp(reading: Reading, section: Section, key: string): string | undefined {
  const text = readText(reading, section, key)
  if (text === undefined) return undefined
  const { names, malformed } = variablesIn(text)
  if (names.length === 0 && malformed === undefined && !isIpAddress(text)) {
    report(reading, fieldAt(reading, section, key), "must be a valid IP address")
  }
  return text
}

function isMissing(section: Section, key: string): boolean {
  return shapeOf(section, key) === "absent"
}

/** What the original's program needs to be told. */
function checkSeedNeeds(
  reading: Reading,
  sections: { readonly root: Section; readonly profile: Section; readonly dataPlane: Section },
  seedRoles: ReadonlySet<string>,
): void {
  const { root, profile, dataPlane } = sections
  // With `roles` misspelt, nobody knows yet what they need.
  if (root.meant.has("roles")) return
  if (isMissing(profile, "path") && !root.meant.has("profile")) {
    requireField(reading, profile, "path")
  }
  if (root.meant.has("network")) return
  if (seedRoles.has("server") && isMissing(dataPlane, "server_listen_ip")) {
    const message = "required when server role is defined"
    requireField(reading, dataPlane, "server_listen_ip", message)
  }
  if (isMissing(dataPlane, "target_ip")) requireField(reading, dataPlane, "target_ip")
}

/** A role's own readiness, else the document's, else the original's default for the original's program. */
function withReadiness(role: RoleSpec, common: ManifestSpec["readiness"] | undefined): RoleSpec {
  if (role.life !== "server") return { ...role, readiness: undefined }
  const fallback = role.command === undefined ? readinessDefault : undefined
  return { ...role, readiness: role.readiness ?? common ?? fallback }
}
