/** Jobs that both keepers can run: the shell's words for the real one, the script for the other. */
import type { Script } from "./worlds.ts"

const sh = (text: string): readonly string[] => ["sh", "-c", text]

/** Until it is stopped. */
export const sleeps: Script = { argv: ["sleep", "1000"], fake: {} }

export const exits = (exitCode: number): Script => ({
  argv: sh(`exit ${exitCode}`),
  fake: { durationMs: 1, exitCode },
})

export const killsItself = (signal: "KILL" | "SEGV"): Script => ({
  argv: sh(`kill -${signal} $$`),
  fake: { durationMs: 1, signal: `SIG${signal}` },
})

export const says = (stdout: string, stderr = ""): Script => ({
  argv: ["sh", "-c", 'printf %s "$1"; printf %s "$2" >&2', "says", stdout, stderr],
  fake: {
    durationMs: 5,
    output: [
      { atMs: 1, text: stdout },
      { atMs: 1, stream: "stderr", text: stderr },
    ],
  },
})

/** Says a line, then runs until it is stopped. */
export const saysAndStays = (line: string): Script => ({
  argv: ["sh", "-c", 'echo "$1"; exec sleep 1000', "stays", line],
  fake: { output: [{ atMs: 1, text: `${line}\n` }] },
})

export const ignoresTerm: Script = {
  argv: sh("trap '' TERM; echo deaf; while :; do sleep 1000; done"),
  fake: { onTerm: "ignore", output: [{ atMs: 1, text: "deaf\n" }] },
}

export const exitsOnTerm = (exitCode: number): Script => ({
  argv: sh(`trap 'exit ${exitCode}' TERM; echo set; while :; do sleep 0.02; done`),
  fake: { onTerm: { exitCode }, output: [{ atMs: 1, text: "set\n" }] },
})

export const neverThere: Script = {
  argv: ["no-such-program-anywhere"],
  fake: { problem: "command not found: no-such-program-anywhere" },
}
