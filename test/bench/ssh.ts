/** ssh as a peer: a local sshd with keys of its own, and a client that keeps its connection (ControlMaster). */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { join } from "node:path"
import { promisify } from "node:util"
import type { Bench } from "./figure.ts"
import { eventually } from "./waiting.ts"

export interface Ssh {
  /** Standard output of a command over there. */
  run(command: readonly string[]): Promise<string>
  end(): Promise<void>
}

const run = promisify(execFile)
/** Where sshd is when it is not on the PATH. */
const usualPlaces = ["/usr/sbin", "/usr/local/sbin", "/sbin"]
/** Where sshd locks its unprivileged half in; made at boot where it is a service. */
const privileges = "/run/sshd"

/** Undefined, with a word to people, where there is no sshd or it does not start. */
export async function startSsh(bench: Bench): Promise<Ssh | undefined> {
  const places = [...(process.env["PATH"] ?? "").split(":"), ...usualPlaces]
  const sshd = places.map((place) => join(place, "sshd")).find((path) => existsSync(path))
  if (sshd === undefined || process.getuid?.() !== 0) {
    bench.say("ssh is left out as a peer: it needs openssh-server and root")
    return undefined
  }
  const directory = join(bench.program.directory, "ssh")
  const made = !existsSync(privileges)
  let server: ChildProcess | undefined
  const end = async (): Promise<void> => {
    await run("ssh", ["-F", join(directory, "config"), "-O", "exit", "peer"]).catch(() => undefined) // No master is left.
    if (server?.kill("SIGTERM")) await once(server, "exit")
    server = undefined
    if (made && existsSync(privileges)) rmdirSync(privileges)
  }
  bench.onEnd(end)
  try {
    const port = await freePort()
    configure(directory, port)
    if (made) mkdirSync(privileges, { mode: 0o755 })
    server = spawn(sshd, ["-D", "-e", "-f", join(directory, "sshd_config")], { stdio: "ignore" })
    await eventually("sshd to listen", () => listens(port), { limitMs: 5000 })
    const ssh: Ssh = {
      run: async (command) =>
        (await run("ssh", ["-F", join(directory, "config"), "peer", ...command])).stdout,
      end,
    }
    await ssh.run(["true"])
    return ssh
  } catch (error) {
    await end()
    bench.say(`ssh is left out as a peer: ${(error as Error).message}`)
    return undefined
  }
}

function configure(directory: string, port: number): void {
  mkdirSync(directory, { mode: 0o700 })
  for (const key of ["host", "user"]) {
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(directory, key)])
  }
  const server = [
    `ListenAddress 127.0.0.1:${port}`,
    `HostKey ${directory}/host`,
    `AuthorizedKeysFile ${directory}/user.pub`,
    "StrictModes no",
    "UsePAM no",
    "PasswordAuthentication no",
    "PermitRootLogin prohibit-password",
    "PidFile none",
    "UseDNS no",
    // The user's own shell start-up files would be measured otherwise.
    `SetEnv HOME=${directory}`,
  ]
  const client = [
    "Host peer",
    "  HostName 127.0.0.1",
    `  Port ${port}`,
    "  User root",
    `  IdentityFile ${directory}/user`,
    "  IdentitiesOnly yes",
    "  StrictHostKeyChecking no",
    "  UserKnownHostsFile /dev/null",
    "  LogLevel ERROR",
    "  BatchMode yes",
    "  ControlMaster auto",
    `  ControlPath ${directory}/master`,
    "  ControlPersist 120",
  ]
  writeFileSync(join(directory, "sshd_config"), `${server.join("\n")}\n`)
  writeFileSync(join(directory, "config"), `${client.join("\n")}\n`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, "close")
  return port
}

async function listens(port: number): Promise<true | undefined> {
  const socket = connect(port, "127.0.0.1")
  try {
    await once(socket, "connect")
    return true
  } finally {
    socket.destroy()
  }
}
