/** What is published: built, packed, installed into an empty folder, run. */
import { execFileSync, spawnSync } from "node:child_process"
import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { expect, test } from "vitest"
import { aDirectory, bundleFiles, start, troupe, writeFiles } from "./command.ts"

const root = resolve(import.meta.dirname, "../../..")
const npmFlags = ["--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"]

/** npm as a child; its own words are the reason when it fails. */
function npm(args: readonly string[], cwd: string) {
  const { status, stdout, stderr } = spawnSync("npm", [...args, ...npmFlags], {
    cwd,
    encoding: "utf8",
  })
  return { status, stdout, stderr }
}

test(
  "npm pack installs into an empty folder and runs as troupe",
  { timeout: 120_000 },
  async (context) => {
    const place = aDirectory()
    const source = join(place, "source")
    mkdirSync(source)
    for (const file of ["package.json", "LICENSE"])
      copyFileSync(join(root, file), join(source, file))
    execFileSync(process.execPath, [join(root, "scripts/build.ts"), "--out", join(source, "dist")])
    const packed = npm(["pack", "--json", "--pack-destination", place], source)
    expect(packed.status, packed.stderr).toBe(0)
    const tarball = readdirSync(place).find((file) => file.endsWith(".tgz"))!

    const empty = join(place, "empty")
    mkdirSync(empty)
    writeFileSync(join(empty, "package.json"), "{}")
    const installed = npm(["install", join(place, tarball)], empty)
    if (
      installed.status !== 0 &&
      /ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT/.test(installed.stderr)
    ) {
      context.skip(`npm reaches no registry: ${installed.stderr.split("\n")[0]}`)
    }
    expect(installed.status, installed.stderr).toBe(0)
    // Everything is bundled but the one package with a compiled part.
    expect(existsSync(join(empty, "node_modules/classic-level"))).toBe(true)
    for (const absent of ["libp2p", "zod", "fastify", "commander", "typescript"]) {
      expect(existsSync(join(empty, "node_modules", absent)), absent).toBe(false)
    }

    const program = [join(empty, "node_modules/.bin/troupe")]
    const version = await troupe(["version", "-o", "json"], { program, cwd: empty })
    expect(JSON.parse(version.stdout)).toMatchObject({ kind: "Version", node: process.version })
    const yaml = await troupe(["version", "-o", "yaml"], { program, cwd: empty })
    expect(yaml.stdout).toContain("kind: Version\n")
    writeFiles(join(empty, "demo"), bundleFiles("demo"))
    const verified = await troupe(["bundle", "verify", "demo"], { program, cwd: empty })
    expect(verified).toEqual({
      code: 0,
      stdout: "Bundle verification: PASSED\nFiles checked: 6\nHashes verified: 5\n",
      stderr: "",
    })

    // The heavy half too: the mesh, the log's thread, the keeper, all out of the bundle.
    const data = join(empty, "data")
    const listen = ["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--log-level", "error"]
    const node = start(["node", "start", "--data", data, ...listen], { program, cwd: empty })
    await node.says(data)
    const stopped = await troupe(["node", "stop", "--data", data], { program, cwd: empty })
    expect(stopped.code, stopped.stderr).toBe(0)
    expect((await node.finished).code).toBe(0)
  },
)
