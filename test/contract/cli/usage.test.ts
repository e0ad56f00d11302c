/** What the command says to those who hold it wrongly, and in which form it answers those who do not. */
import { execFileSync } from "node:child_process"
import { once } from "node:events"
import { readFileSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { aDirectory, serve, troupe } from "./command.ts"

const escape = "\u001b["
const { version } = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../../package.json"), "utf8"),
) as { version: string }

/** Host and port where nobody listens. */
async function nobody(): Promise<string> {
  const server = createServer()
  await once(server.listen(0, "127.0.0.1"), "listening")
  const { port } = server.address() as AddressInfo
  await once(server.close(), "close")
  return `127.0.0.1:${port}`
}

/** What bash would offer for the last word. */
function complete(script: string, words: readonly string[]): string[] {
  const list = words.map((word) => `'${word}'`).join(" ")
  const ask = `${script}\nCOMP_WORDS=(${list})\nCOMP_CWORD=${words.length - 1}\n_troupe\nprintf '%s\\n' "\${COMPREPLY[@]}"`
  return execFileSync("bash", ["-c", ask], { encoding: "utf8" }).trim().split("\n")
}

test.each([
  [["bundel"], "Did you mean bundle?"],
  [["node", "strat"], "Did you mean start?"],
  [["run", "--dry-rum", "m.yaml"], "Did you mean --dry-run?"],
  [["run"], "missing required argument"],
  [["run", "a.yaml", "b.yaml"], "one manifest at a time"],
  [["run", "--timeout", "5", "m.yaml"], "write a duration like 90s"],
  [["run", "--agent", "nope", "m.yaml"], "expected role=agent"],
  [["run", "absent.yaml"], "cannot be read"],
  [["runs", "list", "-o", "jsno"], "did you mean json?"],
  [["runs", "list", "--state", "odd"], "there are: active, ending, finished"],
  [["runs", "list", "--api", "ftp://x"], "no URL of an API"],
  [["completion", "tcsh"], "bash, zsh, fish"],
])("troupe %j is a mistake, said on standard error", async (args, words) => {
  const { code, stdout, stderr } = await troupe(args)
  expect(stderr).toContain(words)
  expect(stdout).toBe("")
  expect(code).toBe(2)
})

test("help is data, and no arguments ask for it", async () => {
  const [help, bare] = await Promise.all([troupe(["--help"]), troupe([])])
  expect(help.code).toBe(0)
  expect(help.stdout).toContain("Usage: troupe")
  expect(help.stderr).toBe("")
  expect(bare).toEqual(help)
})

test("version: a line, versioned JSON, YAML", async () => {
  const [text, json, yaml] = await Promise.all([
    troupe(["version"]),
    troupe(["version", "-o", "json"]),
    troupe(["version"], { env: { TROUPE_OUTPUT: "yaml" } }),
  ])
  expect(text.stdout).toMatch(new RegExp(`^troupe ${version} `))
  expect(JSON.parse(json.stdout)).toMatchObject({
    apiVersion: "troupe/v1",
    kind: "Version",
    version,
    node: process.version,
  })
  expect(yaml.stdout).toMatch(/^apiVersion: troupe\/v1\nkind: Version\n/)
})

describe("colour", () => {
  test.each([
    ["not a terminal", {}, [], false],
    ["FORCE_COLOR", { FORCE_COLOR: "1" }, [], true],
    ["NO_COLOR over FORCE_COLOR", { FORCE_COLOR: "1", NO_COLOR: "1" }, [], false],
    ["--no-color", { FORCE_COLOR: "1" }, ["--no-color"], false],
  ] as const)("%s", async (_case, env, args, isColoured) => {
    const { url } = await serve()
    const { stdout } = await troupe([...args, "cluster", "list", "--api", url], { env: { ...env } })
    expect(stdout.includes(escape)).toBe(isColoured)
  })
})

test("no node answers: exit 7, and how to mend it", async () => {
  const { code, stderr } = await troupe(["runs", "list"], { env: { TROUPE_API: await nobody() } })
  expect(code).toBe(7)
  expect(stderr).toContain("troupe node start")
  expect(stderr).toContain("--api URL")
})

test("--debug shows where an error comes from", async () => {
  const { stderr } = await troupe(["runs", "list", "--debug", "--api", await nobody()])
  expect(stderr).toMatch(/\n\s+at .*transport\.ts/)
})

describe("node start refuses", () => {
  test("every wrong setting at once, each at its place, and starts nothing", async () => {
    const cwd = aDirectory()
    writeFileSync(join(cwd, "node.yaml"), "name: lab-1\nlisten: 0.0.0.0\nvotr: never\n")
    const { code, stderr } = await troupe(
      ["node", "start", "--config", "node.yaml", "--capacity", "none", "--data", "data"],
      { cwd, env: { TROUPE_PRESET: "wam" } },
    )
    expect(code).toBe(2)
    expect(stderr).toContain("--capacity: must be a whole number")
    expect(stderr).toContain("TROUPE_PRESET: must be lan, wan or local")
    expect(stderr).toContain("did you mean wan?")
    expect(stderr).toContain("node.yaml:2:1: listen: 0.0.0.0:8771 can be reached by other machines")
    expect(stderr).toContain("node.yaml:3:1: votr: unknown key; did you mean voter?")
    expect(stderr).toContain("the configuration has 4 mistakes")
    expect(execFileSync("ls", [cwd], { encoding: "utf8" })).toBe("node.yaml\n")
  })

  test("--require-auth, which comes later", async () => {
    const { code, stderr } = await troupe(["node", "start", "--require-auth", "--data", "/nowhere"])
    expect(code).toBe(2)
    expect(stderr).toContain("later version")
  })
})

describe("completion", () => {
  test("bash offers what may follow, and nothing else", async () => {
    const { stdout: script, code } = await troupe(["completion", "bash"])
    expect(code).toBe(0)
    expect(complete(script, ["troupe", "no"])).toEqual(["node"])
    expect(complete(script, ["troupe", "node", ""])).toEqual(
      expect.arrayContaining(["start", "stop", "--help"]),
    )
    expect(complete(script, ["troupe", "node", "start", "--vot"])).toEqual(["--voter"])
    expect(complete(script, ["troupe", "--debug", "runs", "wa"])).toEqual(["wait"])
    expect(complete(script, ["troupe", "run", "m.yaml", "--print"])).toEqual(["--print-plan"])
  })

  test.each(["zsh", "fish"])("%s knows the same words", async (shell) => {
    const { stdout } = await troupe(["completion", shell])
    for (const word of ["node start", "bundle verify", "print-plan"]) expect(stdout).toContain(word)
  })
})
