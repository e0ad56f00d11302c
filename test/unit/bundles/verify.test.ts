/** Verification: the original's rules, counts and words; agreement with its recorded verdicts. */
import { appendFile, cp, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { existsSync } from "node:fs"
import { join, relative } from "node:path"
import { expect, test } from "vitest"
import {
  bundleInfo,
  formatInfoJson,
  formatInfoText,
  formatVerifyJson,
  formatVerifyText,
  packDirectory,
  verifyBundle,
  zipDirectory,
} from "../../../src/bundles/index.ts"
import { aDirectory, gather, sha256, smallBundle, writeTree } from "./samples.ts"

async function bundle(changes: Record<string, string | undefined> = {}): Promise<string> {
  const root = join(await aDirectory(), "small")
  const files = { ...smallBundle(), ...changes }
  await writeTree(
    root,
    Object.fromEntries(
      Object.entries(files).flatMap(([path, content]) =>
        content === undefined ? [] : [[path, content] as const],
      ),
    ),
  )
  return root
}

test("a whole bundle passes, and prints as the original prints it", async () => {
  const report = await verifyBundle(await bundle())
  expect(formatVerifyText(report)).toBe(
    "Bundle verification: PASSED\nFiles checked: 8\nHashes verified: 7\n",
  )
  expect(formatVerifyJson(report)).toBe(`{
  "Valid": true,
  "Errors": null,
  "Warnings": null,
  "FilesChecked": 8,
  "HashesVerified": 7,
  "HashMismatches": null,
  "MissingFiles": null,
  "ExtraFiles": null
}
`)
})

test("a changed byte is named with both hashes", async () => {
  const report = await verifyBundle(await bundle({ "roles/client/stdout.log": "hellO\n" }))
  const error = `hash mismatch for roles/client/stdout.log: expected sha256:${sha256("hello\n")}, got sha256:${sha256("hellO\n")}`
  expect(formatVerifyText(report)).toBe(`Bundle verification: FAILED
Files checked: 8
Hashes verified: 7

Errors:
  - ${error}

Hash mismatches:
  - roles/client/stdout.log
`)
})

test("a missing file is named twice over, as the original does; a file added is a warning", async () => {
  const report = await verifyBundle(
    await bundle({ "roles/client/stdout.log": undefined, "notes.txt": "new" }),
  )
  expect(report).toEqual({
    Valid: false,
    Errors: ["file in hashes.txt not found: roles/client/stdout.log"],
    Warnings: ["file not in hashes.txt: notes.txt"],
    FilesChecked: 8,
    HashesVerified: 7,
    HashMismatches: [],
    MissingFiles: ["roles/client/stdout.log"],
    ExtraFiles: ["notes.txt"],
  })
  expect((await verifyBundle(await bundle({ "notes.txt": "new" }))).Valid).toBe(true)
})

test("what a bundle must have", async () => {
  const root = await bundle({
    "manifest.yaml": undefined,
    "manifest_resolved.yaml": undefined,
    "run_meta.json": undefined,
    "hashes.txt": undefined,
  })
  const strict = await verifyBundle(root)
  expect(strict.Errors).toEqual([
    "missing required file: manifest.yaml",
    "missing required file: run_meta.json",
    "missing required file: manifest_resolved.yaml",
    "missing hashes.txt file",
    `invalid run_meta.json: open ${root}/run_meta.json: no such file or directory`,
  ])
  expect(strict.MissingFiles).toEqual(["manifest.yaml", "run_meta.json", "manifest_resolved.yaml"])
  const loose = await verifyBundle(root, { strict: false, skipHashes: true })
  expect(loose.Errors).toHaveLength(3)
  expect(loose.HashesVerified).toBe(0)
})

test("metadata that is empty is a warning, metadata that is no JSON an error", async () => {
  const root = await bundle({ "run_meta.json": "{}", "versions.json": "{" })
  const report = await verifyBundle(root, { skipHashes: true })
  expect(report.Warnings).toEqual([
    "run_meta.json: run_id is empty",
    "run_meta.json: status is empty",
  ])
  expect(report.Errors).toEqual([expect.stringMatching(/^invalid versions\.json: /)])
})

test("captures that a role names must be there; empty ones are warned of", async () => {
  const empty = await verifyBundle(await bundle({ "roles/client/c.pcap": "" }), {
    skipHashes: true,
  })
  expect(empty.Warnings).toEqual(["client role: PCAP file c.pcap is empty"])
  expect(empty.Valid).toBe(true)
  const root = await bundle({ "roles/client/c.pcap": undefined })
  const gone = await verifyBundle(root, { skipHashes: true })
  expect(gone.Errors).toEqual(["client role: missing PCAP file c.pcap"])
  expect((await verifyBundle(root, { skipHashes: true, skipPcaps: true })).Valid).toBe(true)
})

test("lines of hashes.txt that are no hashes are ignored, as by the original", async () => {
  const root = await bundle()
  await appendFile(join(root, "hashes.txt"), "# a remark\n\nsingle space\n")
  expect((await verifyBundle(root)).Valid).toBe(true)
  await appendFile(join(root, "hashes.txt"), "md5:abc  manifest.yaml\n")
  expect((await verifyBundle(root)).HashMismatches).toEqual(["manifest.yaml"])
})

test("SHA256SUMS is checked where it is, in words of its own where hashes.txt is silent", async () => {
  const sums = `${sha256("api_version: v1\n")}  manifest.yaml\n${"0".repeat(64)}  run_meta.json\n${"1".repeat(64)}  gone\n`
  const report = await verifyBundle(await bundle({ SHA256SUMS: sums }))
  const meta = sha256(smallBundle()["run_meta.json"]!)
  expect(report.Errors).toEqual([
    `hash mismatch in SHA256SUMS for run_meta.json: expected ${"0".repeat(64)}, got ${meta}`,
    "file in SHA256SUMS not found: gone",
  ])
})

test("a link in a bundle is no file of it", async () => {
  const root = await bundle()
  await symlink("/etc/hostname", join(root, "roles/client/link"))
  expect((await verifyBundle(root)).Errors).toEqual([
    "roles/client/link: is no plain file; a bundle holds only those",
  ])
})

test("a packed bundle gives the same report as its directory", async () => {
  const root = await bundle({ "roles/client/stdout.log": "changed\n", "notes.txt": "new" })
  const expected = await verifyBundle(root)
  const beside = await aDirectory()
  await writeFile(join(beside, "b.tar"), await gather(packDirectory(root)))
  await zipDirectory(root, join(beside, "b.zip"))
  for (const file of ["b.tar", "b.zip"]) {
    const report = await verifyBundle(join(beside, file))
    const sorted = { ...report, Errors: report.Errors.toSorted() }
    expect(sorted).toEqual({ ...expected, Errors: expected.Errors.toSorted() })
  }
})

test("what is no bundle is refused in words", async () => {
  const directory = await aDirectory()
  await expect(verifyBundle(join(directory, "none"))).rejects.toMatchObject({
    code: "ERR_BUNDLE_INVALID",
    details: { reason: expect.stringMatching(/^open bundle: stat .*: no such file or directory$/) },
  })
  await writeFile(join(directory, "noise.tar"), "x".repeat(5000))
  await expect(verifyBundle(join(directory, "noise.tar"))).rejects.toMatchObject({
    code: "ERR_BUNDLE_INVALID",
  })
})

// ---------------------------------------------------------------- info

test("info shows the original's text; other roles and an error have their lines", async () => {
  const root = await bundle({
    "run_meta.json":
      '{"run_id":"small","started_at":"2026-11-20T14:24:44.38Z","finished_at":"2026-11-20T14:24:47Z","duration_seconds":3.235,"status":"timeout","controller_host":"vm","phases_completed":["init","stage"],"error":"too slow"}',
    "roles/shard/role_meta.json": '{"role":"shard","agent_id":"beta","exit_code":-1}',
  })
  const info = await bundleInfo(root)
  expect(formatInfoText(info)).toBe(`Bundle: ${root}
Run ID: small

Run Metadata:
  Status: timeout
  Started: 2026-11-20 14:24:44
  Finished: 2026-11-20 14:24:47
  Duration: 3.2 seconds
  Phases: [init stage]
  Error: too slow

Versions:
  cipdip: dev
  controller: linux/amd64

Client Role:
  Agent:${" "}
  Target:${" "}
  Exit Code: 0

Shard Role:
  Agent: beta
  Exit Code: -1
`)
  const json: unknown = JSON.parse(formatInfoJson(info))
  expect(Object.keys(json as object)).toEqual(["path", "roles", "run_id", "run_meta", "versions"])
  await rm(join(root, "versions.json"))
  await expect(bundleInfo(root)).rejects.toMatchObject({
    details: {
      reason: `read versions: open ${root}/versions.json: no such file or directory`,
    },
  })
})

// ---------------------------------------------------------------- the original's recorded bundle

const seeds = join(import.meta.dirname, "../../../../shared/testdata/seeds/000")
const recorded = join(seeds, "golden-local-success")

/** What the recorded session printed after a command line. */
async function printed(command: string, occurrence = 0): Promise<string> {
  const text = await readFile(join(seeds, "golden-local.txt"), "utf8")
  const after = text.split(`$ ${command}\n`)[occurrence + 1] ?? ""
  return after.slice(0, after.indexOf("[rc="))
}

function withoutActual(text: string): string {
  return text.replace(/got sha256:[0-9a-f]+/, "got")
}

function withoutTimes(text: string): string {
  return text.replace(/^Bundle: .*$/m, "Bundle").replace(/\d\d:\d\d:\d\d/g, "time")
}

const withSeeds = test.skipIf(!existsSync(recorded))

withSeeds("the recorded bundle gets the original's verdict, in its words", async () => {
  const report = await verifyBundle(recorded)
  expect(formatVerifyText(report)).toBe(await printed("cipdip bundle verify runs/golden-local"))
  const json = await printed("cipdip bundle verify --json runs/golden-local")
  expect(formatVerifyJson(report)).toBe(json)
})

withSeeds("copies with a byte changed, a file missing, one added", async () => {
  const copy = join(await aDirectory(), "copy")
  await cp(recorded, copy, { recursive: true })
  await appendFile(join(copy, "profile.yaml"), "x")
  const changed = await verifyBundle(copy)
  // The recorded session shows the original's own answer to a changed profile, with other bytes.
  const [, original] = [0, 1].map((n) => printed("cipdip bundle verify runs/golden-local", n))
  expect(withoutActual(formatVerifyText(changed))).toBe(withoutActual(await original!))

  await rm(join(copy, "profile.yaml"))
  const missing = await verifyBundle(copy)
  expect(missing).toMatchObject({ Valid: false, MissingFiles: ["profile.yaml"], FilesChecked: 11 })

  await cp(join(recorded, "profile.yaml"), join(copy, "profile.yaml"))
  await writeTree(copy, { "analysis/pcap_analysis.txt": "added after hashing" })
  const added = await verifyBundle(copy)
  expect(added).toMatchObject({
    Valid: true,
    Warnings: ["file not in hashes.txt: analysis/pcap_analysis.txt"],
    FilesChecked: 13,
  })
})

withSeeds("a dry run's bundle fails as it does there", async () => {
  // The original names the path as it was given.
  const root = join(await aDirectory(), "golden-local")
  for (const file of ["manifest.yaml", "manifest_resolved.yaml", "versions.json"]) {
    await cp(join(recorded, file), join(root, file))
  }
  const report = await verifyBundle(relative(process.cwd(), root))
  const expected = await printed("cipdip bundle verify dry/golden-local")
  expect(formatVerifyText(report).replace(relative(process.cwd(), root), "dry/golden-local")).toBe(
    expected,
  )
})

withSeeds("info of the recorded bundle has the recorded form", async () => {
  const info = await bundleInfo(recorded)
  expect(withoutTimes(formatInfoText(info))).toBe(
    withoutTimes(await printed("cipdip bundle info runs/golden-local")),
  )
  const theirs = JSON.parse(await printed("cipdip bundle info --json runs/golden-local")) as object
  expect(Object.keys(JSON.parse(formatInfoJson(info)) as object)).toEqual(Object.keys(theirs))
})
