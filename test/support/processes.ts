/** Processes that a test starts, and what they say as JSON lines. All end with the test. */
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"

export interface Said {
  readonly event: string
  readonly [field: string]: unknown
}

export class TalkingProcess {
  readonly child: ChildProcess
  readonly said: Said[] = []
  #waiting: (() => void)[] = []
  #errors = ""

  constructor(command: string, args: readonly string[]) {
    this.child = spawn(command, [...args], { stdio: ["pipe", "pipe", "pipe"] })
    createInterface({ input: this.child.stdout! }).on("line", (line) => {
      this.said.push(JSON.parse(line) as Said)
      this.#wake()
    })
    this.child.stderr!.on("data", (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk.toString()).slice(-4000)
    })
    this.child.on("exit", () => this.#wake())
  }

  /** The first line after `from` that fits. */
  async hears(fits: (said: Said) => boolean, from = 0): Promise<Said> {
    for (;;) {
      const found = this.said.slice(from).find(fits)
      if (found) return found
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`the process has ended: ${this.#errors}`)
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  say(line: string): void {
    this.child.stdin!.write(`${line}\n`)
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const ended = new Promise<void>((resolve) => this.child.once("exit", () => resolve()))
    this.child.kill(signal)
    if (signal !== "SIGSTOP" && signal !== "SIGCONT") await ended
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
