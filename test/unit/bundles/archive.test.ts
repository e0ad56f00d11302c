/** Archives: written alike every time, read by the usual tools, and read strictly. */
import { execFileSync } from "node:child_process"
import { chmod, mkdir, readdir, readFile, symlink, utimes, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { packDirectory, unpackBundle, zipDirectory } from "../../../src/bundles/index.ts"
import { type BundleFile, packTar, readTar } from "../../../src/bundles/tar.ts"
import { aDirectory, gather, one, smallBundle, writeTree } from "./samples.ts"

function file(path: string, content: string | Uint8Array): BundleFile {
  const bytes = Buffer.from(content)
  return { path, bytes: bytes.length, read: () => one(bytes) }
}

async function* pieces(content: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size)
}

async function read(tar: Uint8Array, size = 1000): Promise<[string, string][]> {
  const found: [string, string][] = []
  for await (const item of readTar(pieces(tar, size), "test")) {
    found.push([item.path, (await gather(item.read())).toString()])
  }
  return found
}

test("what is written is read back, whatever the pieces it comes in", async () => {
  const name = fc
    .stringMatching(/^[a-zA-Z0-9äöü 😀._-]{1,60}$/u)
    .filter((text) => !/^\.{1,2}$/.test(text))
  const path = fc.array(name, { minLength: 1, maxLength: 6 }).map((steps) => steps.join("/"))
  const content = fc.uint8Array({ maxLength: 1500 })
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(path, content, { maxKeys: 6 }),
      fc.integer({ min: 1, max: 2000 }),
      async (files, size) => {
        const listed = Object.entries(files)
        const tar = await gather(packTar(listed.map(([at, bytes]) => file(at, bytes))))
        expect(tar.length % 512).toBe(0)
        const expected = listed.map(([at, bytes]) => [at, Buffer.from(bytes).toString()])
        expect(await read(tar, size)).toEqual(expected)
      },
    ),
    { numRuns: 60 },
  )
})

test("GNU tar reads ours, long and foreign names included", async () => {
  const directory = await aDirectory()
  const long = `${"d".repeat(90)}/${"e".repeat(90)}/${"f".repeat(120)}.txt`
  const split = `${"a".repeat(80)}/${"b".repeat(80)}.txt`
  const files = [file("plain.txt", "1"), file(long, "2"), file(split, "3"), file("ä/ö.txt", "4")]
  await writeFile(join(directory, "x.tar"), await gather(packTar(files)))
  execFileSync("tar", ["-xf", "x.tar"], { cwd: directory, env: { LC_ALL: "C.UTF-8" } })
  const contents = files.map(({ path }) => readFile(join(directory, path), "utf8"))
  expect(await Promise.all(contents)).toEqual(["1", "2", "3", "4"])
})

test("we read GNU tar's, in its own formats", async () => {
  const directory = await aDirectory()
  const long = `${"d".repeat(120)}/${"e".repeat(120)}.txt`
  await writeTree(directory, { [`b/${long}`]: "long", "b/short.txt": "short", "b/ä.txt": "ä" })
  for (const format of ["gnu", "pax", "ustar"]) {
    const names = format === "ustar" ? ["b/short.txt"] : ["b"]
    const tar = execFileSync("tar", [`--format=${format}`, "--sort=name", "-cf", "-", ...names], {
      cwd: directory,
    })
    const expected = [
      [`b/${long}`, "long"],
      ["b/short.txt", "short"],
      ["b/ä.txt", "ä"],
    ]
    expect(await read(tar)).toEqual(format === "ustar" ? [expected[1]] : expected)
  }
})

test("a directory gives the same bytes whenever and by whomever it was written", async () => {
  const tars: Buffer[] = []
  for (const time of [1_000_000_000, 1_700_000_000]) {
    const root = join(await aDirectory(), "same")
    const files = Object.entries(smallBundle())
    await writeTree(root, Object.fromEntries(time > 1.5e9 ? files.toReversed() : files))
    for (const path of Object.keys(smallBundle())) await utimes(join(root, path), time, time)
    await chmod(join(root, "manifest.yaml"), time > 1.5e9 ? 0o600 : 0o755)
    tars.push(await gather(packDirectory(root)))
  }
  expect(tars[0]!.equals(tars[1]!)).toBe(true)
})

test("a file beyond ustar's eight gibibytes has its size in a pax record", async () => {
  const nineGiB = 9 * 1024 ** 3
  const huge: BundleFile = { path: "x/capture.pcap", bytes: nineGiB, read: () => one(Buffer.of()) }
  const written = packTar([huge])
  await written.next()
  const record = (await written.next()).value as Uint8Array
  expect(Buffer.from(record).toString()).toBe(`19 size=${nineGiB}\n`)
  await written.return(undefined)
})

test("a file that grows while it is packed is an error, not a broken archive", async () => {
  const grown: BundleFile = { path: "log", bytes: 3, read: () => one(Buffer.from("four")) }
  await expect(gather(packTar([grown]))).rejects.toMatchObject({ code: "ERR_BUNDLE_INVALID" })
})

// ---------------------------------------------------------------- unpacking

test("a bundle is unpacked whole into the named directory", async () => {
  const root = join(await aDirectory(), "lab-7")
  await writeTree(root, smallBundle())
  const parent = await aDirectory()
  const target = join(parent, "runs", "mine")
  const unpacked = await unpackBundle(packDirectory(root), target)
  expect(unpacked).toMatchObject({ label: "lab-7", files: 8 })
  for (const [path, content] of Object.entries(smallBundle())) {
    expect(await readFile(join(target, path), "utf8")).toBe(content)
  }
  expect(await readdir(join(parent, "runs"))).toEqual(["mine"])
})

test("what is there already is never touched", async () => {
  const root = join(await aDirectory(), "lab-7")
  await writeTree(root, smallBundle())
  const target = join(await aDirectory(), "taken")
  await writeTree(target, { "mine.txt": "mine" })
  await expect(unpackBundle(packDirectory(root), target)).rejects.toMatchObject({
    code: "ERR_BUNDLE_INVALID",
  })
  expect(await readdir(target)).toEqual(["mine.txt"])
})

/** A tar header of any kind, with its checksum. */
function entry(name: string, type: string, link = ""): Buffer {
  const block = Buffer.alloc(512)
  block.write(name, 0)
  block.write("0000644\0", 100)
  block.write("00000000000\0", 124)
  block.write(type, 156)
  block.write(link, 157)
  block.write("ustar\u000000", 257)
  block.fill(" ", 148, 156)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148)
  return block
}

const end = Buffer.alloc(1024)

test.each<[string, Buffer]>([
  ["a step up", entry("x/../../evil", "0")],
  ["an absolute path", entry("/etc/evil", "0")],
  ["a backslash", entry("x\\..\\evil", "0")],
  ["a symbolic link", entry("x/link", "2", "/etc/passwd")],
  ["a hard link", entry("x/link", "1", "/etc/passwd")],
  ["a device", entry("x/dev", "3")],
  ["a pipe", entry("x/fifo", "6")],
  ["a second root", Buffer.concat([entry("x/a", "0"), entry("y/b", "0")])],
  ["a file beside the root", entry("alone", "0")],
  ["a path twice", Buffer.concat([entry("x/a", "0"), entry("x/a", "0")])],
  ["a file where a directory was", Buffer.concat([entry("x/a/b", "0"), entry("x/a", "0")])],
  ["a root that is no name", entry("../a", "0")],
  ["nothing at all", Buffer.alloc(0)],
  [
    "a broken checksum",
    Buffer.concat([Buffer.from("x"), entry("x/a", "0").subarray(1)]).fill(7, 0, 3),
  ],
  ["a huge long header", entry("x/a", "x").fill("77777777777", 124, 135)],
])("%s is refused and leaves nothing behind", async (_what, content) => {
  const parent = await aDirectory()
  const tar = Buffer.concat([content, end])
  await expect(unpackBundle(pieces(tar, 700), join(parent, "target"))).rejects.toMatchObject({
    code: "ERR_BUNDLE_INVALID",
  })
  expect(await readdir(parent)).toEqual([])
})

test("a tar cut off anywhere is refused", async () => {
  const tar = await gather(packTar([file("x/a", "one"), file("x/b", "two")]))
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: tar.length - 1025 }), async (length) => {
      await expect(read(tar.subarray(0, length))).rejects.toMatchObject({
        code: "ERR_BUNDLE_INVALID",
      })
    }),
    { numRuns: 100 },
  )
})

test("any bytes are refused or read, never worse", async () => {
  const tar = await gather(packTar([file("x/a", "one"), file(`x/${"ä".repeat(120)}`, "two")]))
  const flips = fc.array(
    fc.record({ at: fc.nat({ max: tar.length - 1 }), byte: fc.nat({ max: 255 }) }),
  )
  await fc.assert(
    fc.asyncProperty(flips, async (changes) => {
      const broken = Buffer.from(tar)
      for (const { at, byte } of changes) broken[at] = byte
      await read(broken).catch((error: unknown) => {
        expect(error).toMatchObject({ code: "ERR_BUNDLE_INVALID" })
      })
    }),
    { numRuns: 200 },
  )
})

test("the source is read to its end, so that what checks it there is heard", async () => {
  const tar = await gather(packTar([file("x/a", "one")]))
  async function* checked(): AsyncGenerator<Uint8Array> {
    yield tar
    yield Buffer.alloc(512)
    throw new Error("the digest differs")
  }
  const parent = await aDirectory()
  await expect(unpackBundle(checked(), join(parent, "target"))).rejects.toThrow(
    "the digest differs",
  )
  expect(await readdir(parent)).toEqual([])
})

test("a directory with a link or a socket is not packed", async () => {
  const root = await aDirectory()
  await mkdir(join(root, "b"))
  await symlink("/etc/hostname", join(root, "b/link"))
  await expect(gather(packDirectory(join(root, "b")))).rejects.toMatchObject({
    code: "ERR_BUNDLE_INVALID",
  })
})

// ---------------------------------------------------------------- zip

test("a zip holds the same files, is the same every time, and unzip accepts it", async () => {
  const root = join(await aDirectory(), "lab-7")
  await writeTree(root, { ...smallBundle(), "roles/client/big.log": "line\n".repeat(50_000) })
  const directory = await aDirectory()
  const first = await zipDirectory(root, join(directory, "a.zip"))
  await zipDirectory(root, join(directory, "b.zip"))
  const [a, b] = await Promise.all(
    ["a.zip", "b.zip"].map((name) => readFile(join(directory, name))),
  )
  expect(a!.equals(b!)).toBe(true)
  expect(first.bytes).toBe(a!.length)
  expect(a!.length).toBeLessThan(50_000)
  expect(a!.subarray(0, 4).toString("latin1")).toBe("PK\u0003\u0004")
})
