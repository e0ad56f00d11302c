/** Makes the publishable program: `node scripts/build.ts [--out DIR] [--versions 1-1]` writes dist/, flat, with everything bundled but LevelDB. */
import { execFileSync } from "node:child_process"
import {
  chmodSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { basename, join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { build, type BuildOptions, type Metafile } from "esbuild"
import { doorsOpened } from "./doors.ts"

const root = resolve(import.meta.dirname, "..")
const { values } = parseArgs({ options: { out: { type: "string" }, versions: { type: "string" } } })
const out = resolve(values.out ?? join(root, "dist"))
const { version } = readJson(join(root, "package.json"))

const shared = {
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node22.18",
  // Names stay, so that a stack trace can be read.
  minifySyntax: true,
  minifyWhitespace: true,
  // classic-level has a compiled part and is the one dependency; the other is only for browsers' transports.
  external: ["classic-level", "@ipshipyard/node-datachannel"],
  // CommonJS packages in an ES module bundle still ask for Node's own modules by require.
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
  },
  define: {
    TROUPE_VERSION: JSON.stringify(version),
    TROUPE_COMMIT: JSON.stringify(commitOf()),
    TROUPE_VERSIONS: versionsOf(values.versions),
  },
  plugins: [doorsOpened(root)],
  metafile: true,
  logLevel: "warning",
} satisfies BuildOptions

rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })

// The command: what a subcommand needs is a chunk of its own, so that `troupe version` does not read libp2p.
const command = await build({
  ...shared,
  entryPoints: { troupe: join(root, "src/cli/main.ts") },
  outdir: out,
  splitting: true,
  // Flat: the node finds keeper.js and the threads beside the chunk that it runs in.
  chunkNames: "[name]-[hash]",
})
// The keeper outlives its node, and a thread starts alone: each is one file of its own.
const alone = [
  ["src/keeper/main.ts", "keeper.js"],
  ...globSync("src/*/*-thread.ts", { cwd: root }).map((file) => [
    file,
    `${basename(file, ".ts")}.js`,
  ]),
] as const
const others = await Promise.all(
  alone.map(([source, name]) =>
    build({ ...shared, entryPoints: [join(root, source)], outfile: join(out, name) }),
  ),
)
chmodSync(join(out, "troupe.js"), 0o755)
const packages = bundledPackages([command, ...others].map(({ metafile }) => metafile))
writeFileSync(join(out, "THIRD-PARTY.txt"), notices(packages))
report()

function readJson(file: string): { version: string; license?: string; name?: string } {
  return JSON.parse(readFileSync(file, "utf8"))
}

/** `1-1`: a build for tests that understands only these versions of log entries and rows. */
function versionsOf(text: string | undefined): string {
  if (text === undefined) return "undefined"
  const [oldest, newest] = text.split("-").map(Number)
  if (!oldest || !newest) throw new Error("--versions takes OLDEST-NEWEST, like 1-1")
  return JSON.stringify({ oldest, newest })
}

/** Short hash, marked when the tree has changes; empty outside of git. */
function commitOf(): string {
  try {
    return execFileSync("git", ["describe", "--always", "--dirty", "--exclude=*"], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim()
  } catch {
    // No git, or an unpacked tarball: the version alone must do.
    return ""
  }
}

/** Folders of the packages whose code went into the bundle. */
function bundledPackages(metafiles: readonly Metafile[]): readonly string[] {
  const folders = new Set<string>()
  for (const input of metafiles.flatMap(({ inputs }) => Object.keys(inputs))) {
    const match = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(resolve(input))
    if (match) folders.add(match[1]!)
  }
  return [...folders].toSorted()
}

/** Their licences ask that their notices travel along. */
function notices(folders: readonly string[]): string {
  const parts = folders.map((folder) => {
    const {
      name,
      version: itsVersion,
      license = "unknown",
    } = readJson(join(folder, "package.json"))
    const texts = readdirSync(folder)
      .filter((file) => /^(licen[cs]e|copying|notice)/i.test(file))
      .map((file) => join(folder, file))
      .filter((file) => existsSync(file) && statSync(file).isFile())
      .map((file) => readFileSync(file, "utf8").trim())
    return [`${name} ${itsVersion} (${license})`, ...texts].join("\n\n")
  })
  const rule = `\n\n${"-".repeat(80)}\n\n`
  return `troupe contains the following software.\n\n${parts.join(rule)}\n`
}

function report(): void {
  const files = readdirSync(out).map((file) => [file, statSync(join(out, file)).size] as const)
  const total = files.reduce((sum, [, bytes]) => sum + bytes, 0)
  process.stdout.write(
    `${out}: ${files.length} files, ${Math.round(total / 1024)} KiB, ${packages.length} packages bundled\n`,
  )
}
