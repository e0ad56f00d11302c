/** GPUs as the tool of their maker lists them, played by a script. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { countGpus } from "../../../src/assembly/gpus.ts"

let folder = ""
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "troupe-gpus-"))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function withTool(script: string): string {
  const file = join(folder, "nvidia-smi")
  writeFileSync(file, `#!/bin/sh\n${script}\n`)
  chmodSync(file, 0o755)
  return [folder, "/usr/bin", "/bin"].join(delimiter)
}

test("each GPU is a line; parts of one that is divided are not counted", async () => {
  const lines = [
    "GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-5c89852c)",
    "  MIG 1g.10gb Device 0: (UUID: MIG-c6d4f1ef)",
    "GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-158fbac4)",
  ]
  const path = withTool(
    `[ "$1" = -L ] && printf '%s\\n' ${lines.map((line) => `'${line}'`).join(" ")}`,
  )
  expect(await countGpus(path)).toBe(2)
})

test("without the tool, a driver or a device there is none", async () => {
  expect(await countGpus(folder)).toBe(0)
  expect(await countGpus(withTool("echo 'NVIDIA-SMI has failed' ; exit 9"))).toBe(0)
  expect(await countGpus(withTool("echo 'No devices found.'"))).toBe(0)
  expect(await countGpus(withTool("kill -9 $$"))).toBe(0)
})
