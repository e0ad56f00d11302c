/** What a transcript's command prints: its own lines and, from the level asked for, the core's. */

const levels = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"]
export const noLevel = `log levels must be either of [${levels.join(" ")}]`

export class Output {
  #text = ""
  #level = 0

  get level(): string {
    return levels[this.#level]!
  }

  /** False: no such level. At NONE nothing is printed at all. */
  setLevel(name: string): boolean {
    const level = levels.indexOf(name.toUpperCase())
    if (level < 0) return false
    this.#level = level
    return true
  }

  get isQuiet(): boolean {
    return this.level === "NONE"
  }

  write(text: string): void {
    if (!this.isQuiet) this.#text += text
  }

  readonly trace = (level: string, line: string): void => {
    if (levels.indexOf(level) >= this.#level) this.write(`${level} ${line}\n`)
  }

  indented(act: () => void): void {
    const before = this.#text
    this.#text = ""
    act()
    const lines = this.#text.split("\n")
    if (lines.at(-1) === "") lines.pop()
    this.#text = before + lines.map((line) => `  ${line}\n`).join("")
  }

  take(): string {
    const text = this.#text
    this.#text = ""
    return text
  }
}
