/** A chaos run as a picture: what was done to which node, who led, and what each client's calls came to. */
import type { CallRecord, FaultRecord, LeaderRecord, Record } from "./record.ts"

export interface PictureOptions {
  readonly title: string
  /** Only calls of this key, with words; undefined: all calls as marks. */
  readonly key?: string
}

const width = 1800
const left = 90
const lane = 16
const gap = 14

const faultColours: Readonly<{ [kind: string]: string }> = {
  kill: "#b3261e",
  term: "#e2725b",
  stop: "#7b4fa3",
  partition: "#1f6fb2",
  oneway: "#5aa9e6",
  slowdisk: "#a67c00",
  clock: "#2e8b57",
  fulldisk: "#5d4037",
  wipe: "#000000",
  transfer: "#d68910",
}

function colourOf({ completedAt, isRefused, output, call }: CallRecord): string {
  if (isRefused) return "#999999"
  if (completedAt === undefined) return "#e0a800"
  if (output?.type === "absent" || output?.type === "conflict") return "#7fb5d6"
  return call.op === "look" ? "#7bc47f" : "#1b7a32"
}

export function paint(records: readonly Record[], options: PictureOptions): string {
  const isWanted = (record: CallRecord): boolean =>
    options.key === undefined || record.call.input.key === options.key
  const calls = records.filter((one) => one.type === "call").filter(isWanted)
  const faults = records.filter((one) => one.type === "fault")
  const leaders = records.filter((one) => one.type === "leader")
  const times = [...calls.map(({ invokedAt }) => invokedAt), ...faultTimes(faults, options)]
  const begin = Math.min(...times)
  const end = Math.max(begin + 1000, ...times, ...calls.map(({ endedAt }) => endedAt))
  const x = (at: number): number =>
    left + ((Math.min(Math.max(at, begin), end) - begin) / (end - begin)) * (width - left - 20)
  const lines: string[] = []
  let y = 40
  const nodes = [
    ...new Set([...faults.flatMap((one) => one.nodes), ...leaders.map((one) => one.node)]),
  ].toSorted()
  for (const node of nodes) {
    lines.push(text(8, y + 11, node))
    lines.push(...leaderBars(leaders, node, { x, y, end }))
    lines.push(
      ...faultBars(
        faults.filter((one) => one.nodes.includes(node)),
        { x, y, begin, end },
      ),
    )
    y += lane + gap
  }
  const clients = [...new Set(calls.map(({ client }) => client))].toSorted()
  for (const client of clients) {
    lines.push(text(8, y + 11, client))
    for (const one of calls.filter((call) => call.client === client)) {
      lines.push(callBar(one, { x, y, end, isNamed: options.key !== undefined }))
      if (options.key !== undefined) y += lane / 2
    }
    y += lane
  }
  lines.push(...axis({ begin, end, x, y }))
  const height = y + 40
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="10">
<rect width="100%" height="100%" fill="white"/>
${text(left, 18, `${options.title} · dark green: written, light green: seen, blue: conflict or absent, grey: refused, yellow: unknown; the thin line: leads`)}
${lines.join("\n")}
</svg>
`
}

function faultTimes(faults: readonly FaultRecord[], { key }: PictureOptions): number[] {
  return key === undefined ? faults.flatMap(({ from, to }) => [from, to]) : []
}

interface Place {
  readonly x: (at: number) => number
  readonly y: number
  readonly end: number
}

function leaderBars(
  leaders: readonly LeaderRecord[],
  node: string,
  { x, y, end }: Place,
): string[] {
  return leaders.flatMap((one, place) => {
    if (one.node !== node) return []
    const until = leaders[place + 1]?.at ?? end
    const span = Math.max(1, x(until) - x(one.at))
    return `<rect x="${x(one.at)}" y="${y + lane}" width="${span}" height="4" fill="#1b7a32"><title>${node} leads term ${one.term}</title></rect>`
  })
}

function faultBars(
  faults: readonly FaultRecord[],
  { x, y, begin, end }: Place & { readonly begin: number },
): string[] {
  return faults
    .filter(({ from, to }) => to >= begin && from <= end)
    .flatMap(({ kind, text: words, from, to }) => {
      const span = Math.max(2, x(to) - x(from))
      const colour = faultColours[kind] ?? "#444444"
      return [
        `<rect x="${x(from)}" y="${y}" width="${span}" height="${lane}" fill="${colour}" fill-opacity="0.7"><title>${escape(`${kind}: ${words}, ${Math.round((to - from) / 1000)} ms`)}</title></rect>`,
        text(x(from) + 1, y - 2, kind),
      ]
    })
}

function callBar(record: CallRecord, place: Place & { readonly isNamed: boolean }): string {
  const { x, y, isNamed } = place
  const { call, invokedAt, endedAt, node, ending, output } = record
  const span = Math.max(isNamed ? 3 : 1, x(endedAt) - x(invokedAt))
  const words = `${call.op} ${call.input.key} at ${node}: ${ending} ${output ? JSON.stringify(output) : ""}`
  const bar = `<rect x="${x(invokedAt)}" y="${y}" width="${span}" height="${isNamed ? lane / 2 - 1 : lane - 4}" fill="${colourOf(record)}"><title>${escape(words)}</title></rect>`
  if (!isNamed) return bar
  return bar + text(x(invokedAt) + span + 3, y + lane / 2 - 1, wordsOf(record))
}

function wordsOf({ call, node, ending, output }: CallRecord): string {
  const given = call.op === "submit" ? ` ${call.input.body}` : ""
  if (output?.type === "seen") {
    const { state, events, verdict, cancelled } = output.sight
    return `${call.op}${given} @${node} ${state} ${events} ${verdict ?? ""} ${cancelled ?? ""}`
  }
  const run = output && "run" in output ? ` ${output.run}` : ""
  return `${call.op}${given} @${node} ${output?.type ?? ending}${run}`
}

function axis(place: Place & { readonly begin: number }): string[] {
  const { begin, end, x, y } = place
  const step = [0.1, 0.5, 1, 5, 10, 30, 60].find((s) => (end - begin) / 1e6 / s < 30) ?? 300
  const lines: string[] = []
  for (let at = 0; at <= (end - begin) / 1e6; at += step) {
    const column = x(begin + at * 1e6)
    lines.push(`<line x1="${column}" x2="${column}" y1="28" y2="${y}" stroke="#dddddd"/>`)
    lines.push(text(column, y + 14, `${Math.round(at * 10) / 10} s`))
  }
  return lines
}

function text(x: number, y: number, words: string): string {
  return `<text x="${x}" y="${y}">${escape(words)}</text>`
}

function escape(words: string): string {
  return words.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
}
