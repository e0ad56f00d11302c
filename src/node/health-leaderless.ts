/** What a node says of its cluster when no leader answers: only what it knows, and the gentlest remedy first. */

export interface VoterSeen {
  readonly name: string
  readonly answers: boolean
  /** Undefined: not heard since this node started. */
  readonly silentMs: number | undefined
  /** It has lost its log, so it neither votes nor holds anything. */
  readonly isReturning: boolean
}

export function leaderlessProblems(self: string, voters: readonly VoterSeen[]): readonly string[] {
  const total = voters.length
  const needed = Math.floor(total / 2) + 1
  const silent = voters.filter(({ answers }) => !answers)
  const returning = voters.filter(({ answers, isReturning }) => answers && isReturning)
  const sound = total - silent.length - returning.length
  if (sound >= needed) {
    return [
      `no leader answers, though ${sound} of ${total} voters are in reach: an election is under way`,
    ]
  }
  const problems: string[] = []
  if (returning.length > 0) problems.push(returningText(returning, silent))
  if (silent.length > 0) problems.push(silentText(self, silent, { total, needed, sound }))
  return problems
}

function returningText(returning: readonly VoterSeen[], silent: readonly VoterSeen[]): string {
  const who = list(returning.map(({ name }) => name))
  const lost =
    returning.length === 1
      ? `${who} has lost its log and asks to come back as a new member`
      : `${who} have lost their logs and ask to come back as new members`
  if (silent.length > 0) {
    return `${lost}, which takes a leader: start ${list(silent.map(({ name }) => name))}`
  }
  return `${lost}, but too few voters have their logs to elect a leader: see 'troupe cluster recover --help'`
}

function silentText(
  self: string,
  silent: readonly VoterSeen[],
  count: { readonly total: number; readonly needed: number; readonly sound: number },
): string {
  const who = list(silent.map((one) => `${one.name} (${sinceText(one.silentMs)})`))
  const isOne = silent.length === 1
  const they = isOne ? "it runs" : "they run"
  return (
    `${who} ${isOne ? "does" : "do"} not answer ${self}; ${count.needed} of ${count.total} voters must, ` +
    `${count.sound} ${count.sound === 1 ? "does" : "do"}. See whether ${they}, start what is stopped, and look at the ` +
    `network from ${self}, both ways; only if ${isOne ? "its disk is" : "their disks are"} gone for good: ` +
    `'troupe cluster recover --help'`
  )
}

function sinceText(silentMs: number | undefined): string {
  if (silentMs === undefined) return "not heard since this node started"
  return `silent for ${Math.round(silentMs / 1000)} s`
}

/** `a`, `a and b`, `a, b and c`. */
function list(names: readonly string[]): string {
  if (names.length < 2) return names.join("")
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`
}
