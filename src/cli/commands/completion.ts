/** `troupe completion`: scripts written from the command tree itself, so that they cannot say anything else. */
import type { Command } from "commander"
import { exitCodes } from "../exit.ts"
import type { Session } from "../session.ts"

/** One place in the tree: the words so far, and what may follow. */
interface Level {
  readonly path: string
  readonly commands: readonly string[]
  readonly flags: readonly string[]
}

/** `program` is the whole tree. */
export async function completion(
  session: Session,
  program: Command,
  shell: "bash" | "zsh" | "fish",
): Promise<number> {
  const levels = levelsOf(program, "", [])
  const scripts = { bash, zsh, fish }
  session.terminal.print(scripts[shell](levels))
  return exitCodes.ok
}

function levelsOf(command: Command, path: string, inherited: readonly string[]): Level[] {
  const own = command.options.flatMap((option) => (option.long == null ? [] : [option.long]))
  const flags = [...own, ...inherited]
  const level = {
    path,
    commands: command.commands.map((child) => child.name()),
    flags: [...flags, "--help"],
  }
  const below = command.commands.flatMap((child) =>
    levelsOf(child, `${path} ${child.name()}`.trim(), path === "" ? own : inherited),
  )
  return [level, ...below]
}

/** Paths that have words of their own below them; the argument of a `case`. */
function pathCases(levels: readonly Level[]): string {
  return levels
    .filter((level) => level.path !== "")
    .map((level) => `"${level.path}"`)
    .join("|")
}

function wordCases(levels: readonly Level[], assign: (words: string) => string): string {
  return levels
    .map(
      (level) => `    "${level.path}") ${assign([...level.commands, ...level.flags].join(" "))} ;;`,
    )
    .join("\n")
}

function bash(levels: readonly Level[]): string {
  return `# troupe completion for bash: eval "$(troupe completion bash)"
_troupe() {
  local current="\${COMP_WORDS[COMP_CWORD]}" level="" known="" words="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    known="\${level:+$level }\${COMP_WORDS[i]}"
    case "$known" in
      ${pathCases(levels)}) level="$known" ;;
    esac
  done
  case "$level" in
${wordCases(levels, (words) => `words="${words}"`)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _troupe troupe`
}

function zsh(levels: readonly Level[]): string {
  return `#compdef troupe
# troupe completion for zsh: eval "$(troupe completion zsh)"
_troupe() {
  local level="" known="" word
  local -a choices
  for word in "\${(@)words[2,CURRENT-1]}"; do
    known="\${level:+$level }$word"
    case "$known" in
      ${pathCases(levels)}) level="$known" ;;
    esac
  done
  case "$level" in
${wordCases(levels, (words) => `choices=(${words})`)}
  esac
  compadd -- $choices
  _files
}
compdef _troupe troupe`
}

function fish(levels: readonly Level[]): string {
  const lines = levels.flatMap((level) => {
    const at = `complete -c troupe -n '__troupe_at "${level.path}"'`
    const commands =
      level.commands.length === 0 ? [] : [`${at} -f -a "${level.commands.join(" ")}"`]
    return [...commands, ...level.flags.map((flag) => `${at} -l ${flag.slice(2)}`)]
  })
  return `# troupe completion for fish: troupe completion fish | source
function __troupe_at
  set -l level ""
  for word in (commandline -opc)[2..]
    set -l known (string trim -- "$level $word")
    switch "$known"
      case ${pathCases(levels).replaceAll("|", " ")}
        set level "$known"
    end
  end
  test "$level" = "$argv[1]"
end
${lines.join("\n")}`
}
