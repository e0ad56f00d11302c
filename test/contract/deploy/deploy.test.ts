/** What lies in config/deploy, judged by the programs that will read it. They skip where those are not installed. */
import { spawnSync } from "node:child_process"
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  appendFileSync,
  openSync,
  closeSync,
  writeSync,
} from "node:fs"
import { tmpdir, userInfo } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, type TestContext, test } from "vitest"
import * as z from "zod"
import { parse } from "yaml"

const deploy = join(import.meta.dirname, "../../../config/deploy")
const read = (name: string) => readFileSync(join(deploy, name), "utf8")

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "deploy-"))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

function run(command: string, ...args: string[]) {
  const path = `${process.env["PATH"]}:/usr/sbin:/sbin`
  const env = { ...process.env, PATH: path, LC_ALL: "C", SYSTEMD_COLORS: "0" }
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8", env })
  return { status, output: `${stdout}${stderr}`.trim(), isMissing: error !== undefined }
}

function needs({ skip }: TestContext, command: string): string {
  const { output, isMissing } = run(command, "--version")
  skip(isMissing, `${command} is not installed`)
  return output
}

/** The unit with drop-ins beside it, as systemd would read them. */
function unitWith(...dropIns: string[]): string {
  const unit = join(directory, "troupe.service")
  copyFileSync(join(deploy, "troupe.service"), unit)
  mkdirSync(`${unit}.d`, { recursive: true })
  for (const name of dropIns) copyFileSync(join(deploy, name), join(`${unit}.d`, name))
  return unit
}

describe("the systemd unit", () => {
  test.for([[], ["privileged-jobs.conf"], ["limits.conf"]])(
    "with %j verifies",
    (dropIns, context) => {
      const version = Number(/^systemd (\d+)/.exec(needs(context, "systemd-analyze"))?.[1])
      context.skip(
        dropIns.includes("limits.conf") && version < 254,
        `systemd ${version} is too old`,
      )
      // It only warns of keys that it ignores: whatever it says is a mistake.
      expect(run("systemd-analyze", "verify", unitWith(...dropIns))).toMatchObject({
        status: 0,
        output: "",
      })
    },
  )

  test("is not more exposed than 4.0, of 10", (context) => {
    needs(context, "systemd-analyze")
    const args = ["security", "--offline=true", "--threshold=40", "--no-pager"]
    const { status, output } = run("systemd-analyze", ...args, unitWith())
    expect(status, output).toBe(0)
  })

  const settings = new Map(
    read("troupe.service")
      .split("\n")
      .flatMap((line) =>
        /^[A-Z]\w+=/.test(line) ? [line.split(/=(.*)/, 2) as [string, string]] : [],
      ),
  )

  test("leaves the jobs alone when the node stops", () => {
    expect(settings.get("KillMode")).toBe("process")
    expect(settings.get("OOMPolicy")).toBe("continue")
    // Each of these takes something from jobs that run on, or from every job.
    for (const name of ["PrivateTmp", "RemoveIPC", "ProtectClock", "MemoryDenyWriteExecute"]) {
      expect(settings.has(name), name).toBe(false)
    }
  })

  test("takes a stop for a success and does not start again what cannot get better", () => {
    expect(settings.get("SuccessExitStatus")).toBe("143")
    expect(settings.get("Restart")).toBe("on-failure")
    expect(settings.get("RestartPreventExitStatus")?.split(" ")).toEqual(["2", "76"])
  })
})

describe("the cloud-init file", () => {
  const text = read("cloud-init.yaml")
  const config = z
    .looseObject({
      write_files: z.array(z.object({ path: z.string(), content: z.string() })),
    })
    .parse(parse(text))
  const written = (path: string) => config.write_files.find((file) => file.path === path)?.content

  test("follows the schema", (context) => {
    needs(context, "cloud-init")
    const { status, output } = run(
      "cloud-init",
      "schema",
      "--config-file",
      join(deploy, "cloud-init.yaml"),
    )
    expect(output).toMatch(/^Valid cloud-config/)
    expect(status).toBe(0)
  })

  test("has only keys that cloud-init reads: of others it says nothing", () => {
    expect(text.startsWith("#cloud-config\n")).toBe(true)
    const known = ["package_update", "packages", "users", "write_files", "runcmd", "final_message"]
    expect(Object.keys(config).toSorted()).toEqual(known.toSorted())
  })

  test("brings the unit word for word", () => {
    expect(written("/etc/systemd/system/troupe.service")).toBe(read("troupe.service"))
    expect(text).toContain("DelegateSubgroup=main")
  })

  test("its script is one that sh reads", () => {
    const script = join(directory, "install")
    writeFileSync(script, written("/usr/local/sbin/troupe-install") ?? "")
    expect(run("sh", "-n", script)).toMatchObject({ status: 0, output: "" })
  })
})

function configured(): { file: string; log: string } {
  const log = join(directory, "log", "node.log")
  mkdirSync(join(directory, "log"), { mode: 0o755 })
  const file = join(directory, "conf")
  const { username } = userInfo()
  const here = read("troupe.logrotate")
    .replaceAll("/var/log/troupe", join(directory, "log"))
    .replace("su troupe troupe", username === "root" ? "su root root" : "")
  writeFileSync(file, here, { mode: 0o644 })
  writeFileSync(log, "")
  return { file, log }
}

describe("log rotation", () => {
  test("is read without an error", (context) => {
    needs(context, "logrotate")
    const { file } = configured()
    const { status, output } = run("logrotate", "-d", "-s", join(directory, "state"), file)
    expect(output).not.toMatch(/error|unknown|ignor/i)
    expect(status).toBe(0)
  })

  test("loses nothing that is written behind it, and needs no word to the node", (context) => {
    needs(context, "logrotate")
    const { file, log } = configured()
    appendFileSync(log, "before\n")
    let said = ""
    const held = openSync(log, "a")
    try {
      const { status, output } = run("logrotate", "-v", "-f", "-s", join(directory, "state"), file)
      expect(status, output).toBe(0)
      said = output
      writeSync(held, "after\n")
    } finally {
      closeSync(held)
    }
    expect(readFileSync(log, "utf8"), said).toBe("after\n")
    expect(readdirSync(join(directory, "log")).toSorted()).toEqual(["node.log", "node.log.1"])
    expect(readFileSync(`${log}.1`, "utf8")).toBe("before\n")
  })
})
