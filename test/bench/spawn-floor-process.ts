/** The floor under any Node spawner: `/bin/true`, so many at once, nothing written down. One line when all have ended. */
import { spawn } from "node:child_process"

const [count, atOnce] = process.argv.slice(2).map(Number)
let left = count!
let running = 0

function more(): void {
  while (left > 0 && running < atOnce!) {
    left--
    running++
    spawn("/bin/true", { stdio: "ignore" }).on("exit", () => {
      running--
      if (left === 0 && running === 0)
        process.stdout.write(`${JSON.stringify({ event: "done" })}\n`)
      else more()
    })
  }
}

process.stdout.write(`${JSON.stringify({ event: "listening" })}\n`)
process.stdin.once("data", more)
