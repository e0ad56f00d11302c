/** `troupe bundle verify|info`: the disk only, in the original's words. */
import { rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { aDirectory, bundleFiles, troupe, writeFiles } from "./command.ts"

function aBundle(): string {
  const directory = aDirectory()
  writeFiles(join(directory, "demo"), bundleFiles("demo"))
  return directory
}

test("a right bundle passes; --json has the original's keys", async () => {
  const cwd = aBundle()
  const { code, stdout } = await troupe(["bundle", "verify", "--json", "demo"], { cwd })
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toEqual({
    Valid: true,
    Errors: null,
    Warnings: null,
    FilesChecked: 6,
    HashesVerified: 5,
    HashMismatches: null,
    MissingFiles: null,
    ExtraFiles: null,
  })
})

test("a changed file exits 8 and is named; --skip-hashes does not look", async () => {
  const cwd = aBundle()
  writeFileSync(join(cwd, "demo/manifest.yaml"), "changed")
  const [whole, skipped] = await Promise.all([
    troupe(["bundle", "verify", "demo"], { cwd }),
    troupe(["bundle", "verify", "demo", "--skip-hashes"], { cwd }),
  ])
  expect(whole.code).toBe(8)
  expect(whole.stdout).toContain("Bundle verification: FAILED")
  expect(whole.stdout).toContain("Hash mismatches:\n  - manifest.yaml\n")
  expect(skipped.code).toBe(0)
})

test("manifest_resolved.yaml is required unless --strict=false", async () => {
  const cwd = aBundle()
  rmSync(join(cwd, "demo/manifest_resolved.yaml"))
  const files = bundleFiles("demo")
  const kept = files["hashes.txt"]!.replace(/.*manifest_resolved\.yaml\n/, "")
  writeFileSync(join(cwd, "demo/hashes.txt"), kept)
  const [strict, lax] = await Promise.all([
    troupe(["bundle", "verify", "demo"], { cwd }),
    troupe(["bundle", "verify", "--strict=false", "demo"], { cwd }),
  ])
  expect(strict.code).toBe(8)
  expect(strict.stdout).toContain("missing required file: manifest_resolved.yaml")
  expect(lax.code).toBe(0)
})

test("no bundle at all", async () => {
  const { code, stderr } = await troupe(["bundle", "verify", "nonexist"], { cwd: aDirectory() })
  expect(code).toBe(8)
  expect(stderr).toContain("stat nonexist: no such file or directory")
})

test("info prints what the bundle says", async () => {
  const cwd = aBundle()
  const { code, stdout } = await troupe(["bundle", "info", "demo"], { cwd })
  expect(code).toBe(0)
  expect(stdout).toContain("Bundle: demo\nRun ID: demo\n\nRun Metadata:\n  Status: success\n")
})
