/** Reads the Prometheus text format 0.0.4 as strictly as promtool does; throws at the first line that it would not take. */

export interface Sample {
  readonly name: string
  readonly labels: ReadonlyMap<string, string>
  readonly value: number
}

export interface Family {
  readonly name: string
  readonly help: string
  readonly type: string
  readonly samples: Sample[]
}

const namePattern = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const types = new Set(["counter", "gauge", "histogram", "summary", "untyped"])

export function parseExposition(text: string): ReadonlyMap<string, Family> {
  if (!text.endsWith("\n")) throw new Error("the last line has no end")
  const families = new Map<string, Family>()
  const series = new Set<string>()
  let help: { name: string; text: string } | undefined
  let family: Family | undefined
  for (const line of text.slice(0, -1).split("\n")) {
    const head = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line)
    if (head?.[1] === "HELP") {
      help = { name: head[2]!, text: head[3]! }
      family = undefined
    } else if (head) {
      const name = head[2]!
      if (help?.name !== name) throw new Error(`no HELP before TYPE of ${name}`)
      if (families.has(name)) throw new Error(`${name} is described twice`)
      if (!namePattern.test(name)) throw new Error(`bad name ${name}`)
      if (!types.has(head[3]!)) throw new Error(`unknown type ${head[3]}`)
      family = { name, help: help.text, type: head[3]!, samples: [] }
      families.set(name, family)
    } else {
      const sample = parseSample(line)
      if (!family || !belongs(sample.name, family)) throw new Error(`out of place: ${line}`)
      const key = `${sample.name}${JSON.stringify([...sample.labels].toSorted(([a], [b]) => (a < b ? -1 : 1)))}`
      if (series.has(key)) throw new Error(`twice: ${line}`)
      series.add(key)
      family.samples.push(sample)
    }
  }
  for (const each of families.values()) check(each)
  return families
}

function belongs(name: string, { name: family, type }: Family): boolean {
  if (type !== "histogram") return name === family
  return [`${family}_bucket`, `${family}_sum`, `${family}_count`].includes(name)
}

function parseSample(line: string): Sample {
  const [, name, inside = "", value] = /^([^{ ]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
  if (name === undefined || value === undefined) throw new Error(`no sample: ${line}`)
  if (!namePattern.test(name)) throw new Error(`bad name ${name}`)
  return { name, labels: parseLabels(inside), value: parseValue(value) }
}

function parseLabels(text: string): ReadonlyMap<string, string> {
  const labels = new Map<string, string>()
  let rest = text
  while (rest !== "") {
    const [whole, name, value] =
      /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/.exec(rest) ?? []
    if (whole === undefined) throw new Error(`bad labels ${text}`)
    if (labels.has(name!)) throw new Error(`label ${name} twice`)
    labels.set(name!, value!)
    rest = rest.slice(whole.length)
  }
  return labels
}

function parseValue(text: string): number {
  if (text === "+Inf") return Infinity
  if (text === "-Inf") return -Infinity
  if (text === "NaN") return Number.NaN
  if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text)) throw new Error(`bad value ${text}`)
  return Number(text)
}

/** What promtool's lint says, too. */
function check(family: Family): void {
  const { name, type, help, samples } = family
  if (help === "") throw new Error(`${name} has no help`)
  if (samples.length === 0) throw new Error(`${name} has no sample`)
  if (type === "counter" && !name.endsWith("_total")) throw new Error(`${name} is no _total`)
  if (type !== "counter" && name.endsWith("_total")) throw new Error(`${name} is no counter`)
  if (type === "counter" && samples.some(({ value }) => value < 0)) throw new Error(`${name} < 0`)
  if (type === "histogram") checkHistogram(family)
}

function isRising(values: readonly number[], strict: boolean): boolean {
  return values.every((value, place) => {
    const before = values[place - 1] ?? -Infinity
    return strict ? value > before : value >= before
  })
}

function checkHistogram({ name, samples }: Family): void {
  const buckets = samples.filter((sample) => sample.name === `${name}_bucket`)
  const bounds = buckets.map(({ labels }) => parseValue(labels.get("le") ?? "missing"))
  const counts = buckets.map(({ value }) => value)
  if (!isRising(bounds, true) || !isRising(counts, false)) throw new Error(`${name} falls`)
  if (bounds.at(-1) !== Infinity) throw new Error(`${name} has no +Inf`)
  const count = samples.find((sample) => sample.name === `${name}_count`)
  if (count?.value !== counts.at(-1)) throw new Error(`${name}: _count is not +Inf's`)
  if (!samples.some((sample) => sample.name === `${name}_sum`)) throw new Error(`${name}: no _sum`)
}
