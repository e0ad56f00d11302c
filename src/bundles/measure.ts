/** Figures out of a role's output: iperf3's JSON, any JSON with `bits_per_second`, and the original's stats lines. */

/** Figures of one output, by name; units are in the names. */
export interface Measurement {
  readonly tool: string
  readonly figures: Readonly<Record<string, number>>
  /** What the tool itself reported as its error. */
  readonly error?: string
}

type Json = Readonly<Record<string, unknown>>

function objectAt(value: unknown, ...path: readonly string[]): Json | undefined {
  let current = value
  for (const key of path) {
    if (typeof current !== "object" || current === null) return undefined
    current = (current as Json)[key]
  }
  const isObject = typeof current === "object" && current !== null && !Array.isArray(current)
  return isObject ? (current as Json) : undefined
}

function parse(text: string): Json | undefined {
  try {
    return objectAt(JSON.parse(text))
  } catch {
    // A role may print whatever it likes: what is no JSON holds no figures.
    return undefined
  }
}

/** The numbers of an object, under their own names or those of `names`. */
function numbers(
  source: Json | undefined,
  names: Readonly<Record<string, string>>,
): Record<string, number> {
  const figures: Record<string, number> = {}
  for (const [key, name] of Object.entries(names)) {
    const value = source?.[key]
    if (typeof value === "number" && Number.isFinite(value)) figures[name] = value
  }
  return figures
}

/** One JSON document: a whole output, or a line of one. */
export function measureDocument(text: string): Measurement | undefined {
  const document = parse(text)
  if (!document) return undefined
  return iperf3(document) ?? stats(document) ?? generic(document)
}

function iperf3(document: Json): Measurement | undefined {
  const end = objectAt(document, "end")
  const failure = document["error"]
  const isIperf = objectAt(document, "start") !== undefined && (end || typeof failure === "string")
  if (!isIperf) return undefined
  const sent = objectAt(end, "sum_sent")
  const received = objectAt(end, "sum_received")
  const sum = objectAt(end, "sum")
  const figures = {
    // UDP has only `sum`; what arrived is what counts.
    ...numbers(sum, { bits_per_second: "bits_per_second", jitter_ms: "jitter_ms" }),
    ...numbers(sum, {
      lost_packets: "lost_packets",
      packets: "packets",
      lost_percent: "lost_percent",
    }),
    ...numbers(sent, { bits_per_second: "sent_bits_per_second", retransmits: "retransmits" }),
    ...numbers(received, {
      bits_per_second: "bits_per_second",
      bytes: "bytes",
      seconds: "seconds",
    }),
  }
  return { tool: "iperf3", figures, ...(typeof failure === "string" && { error: failure }) }
}

/** `{"stats":{…},"type":"stats"}` */
function stats(document: Json): Measurement | undefined {
  const source = objectAt(document, "stats")
  if (document["type"] !== "stats" || !source) return undefined
  return { tool: "stats", figures: ownNumbers(source) }
}

function generic(document: Json): Measurement | undefined {
  if (typeof document["bits_per_second"] !== "number") return undefined
  const tool = document["tool"]
  return { tool: typeof tool === "string" ? tool : "json", figures: ownNumbers(document) }
}

const figuresMax = 50

function ownNumbers(source: Json): Record<string, number> {
  const keys = Object.keys(source).slice(0, figuresMax)
  return numbers(source, Object.fromEntries(keys.map((key) => [key, key])))
}
