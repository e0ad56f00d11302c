/** A block of lines on a terminal's standard error that is redrawn in place. */
import type { Clock, Timer } from "../platform/index.ts"
import type { Terminal } from "./terminal.ts"

const redrawMs = 120

export interface Live {
  /** Draws again when something changed, and regularly for the clock in it. */
  show(lines: () => string[]): void
  /** A line above the block. */
  tell(text: string): void
  /** Takes the block away; `show` brings it back. */
  hide(): void
  /** Draws a last time and leaves the block where it is. */
  stop(): void
}

export function createLive(terminal: Terminal, clock: Clock): Live {
  let drawn = 0
  let lines: (() => string[]) | undefined
  let timer: Timer | undefined

  const erase = () => {
    if (drawn > 0) terminal.draw(`\u001b[${drawn}A\r\u001b[J`)
    drawn = 0
  }
  const draw = () => {
    // What has left the screen cannot be redrawn.
    const now = (lines?.() ?? []).slice(0, terminal.liveSize().rows - 1)
    // One write, so that nothing flickers.
    const up = drawn > 0 ? `\u001b[${drawn}A\r` : ""
    terminal.draw(`${up}${now.map((line) => `${line}\u001b[K\n`).join("")}\u001b[J`)
    drawn = now.length
  }
  return {
    show(next) {
      lines = next
      timer ??= clock.every(redrawMs, draw)
    },
    tell(text) {
      erase()
      terminal.tell(text)
      if (timer) draw()
    },
    hide() {
      timer?.cancel()
      timer = undefined
      erase()
    },
    stop() {
      if (timer) draw()
      timer?.cancel()
      timer = undefined
      drawn = 0
    },
  }
}
