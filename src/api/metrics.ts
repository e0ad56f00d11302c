/** The Prometheus text format (version 0.0.4), written by hand, and the count of requests. */
import type { Metric } from "../node/index.ts"

/** All samples of one name together under one HELP and TYPE, as the format demands. */
export function exposition(metrics: readonly Metric[]): string {
  const families = new Map<string, Metric[]>()
  for (const metric of metrics) {
    const name = metricName(metric.name)
    const family = families.get(name)
    if (family) family.push(metric)
    else families.set(name, [metric])
  }
  const lines: string[] = []
  for (const [name, family] of families) {
    const { help, type } = family[0]!
    lines.push(`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} ${type}`)
    for (const metric of family) lines.push(...samplesOf(name, metric))
  }
  return `${lines.join("\n")}\n`
}

function samplesOf(name: string, metric: Metric): readonly string[] {
  const { type, labels = {}, value, buckets = [], sum = 0 } = metric
  if (type !== "histogram") return [`${name}${labelsOf(labels)} ${numberText(value)}`]
  const bounded = buckets.map(({ atMost, count }) => ({ le: numberText(atMost), count }))
  return [
    ...[...bounded, { le: "+Inf", count: value }].map(
      ({ le, count }) => `${name}_bucket${labelsOf({ ...labels, le })} ${count}`,
    ),
    `${name}_sum${labelsOf(labels)} ${numberText(sum)}`,
    `${name}_count${labelsOf(labels)} ${value}`,
  ]
}

function labelsOf(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${labelName(name)}="${escapeLabel(value)}"`,
  )
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return "NaN"
  if (value === Infinity) return "+Inf"
  if (value === -Infinity) return "-Inf"
  return String(value)
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"')
}

function metricName(name: string): string {
  return name.replace(/[^a-zA-Z0-9_:]/g, "_").replace(/^(?=\d)/, "_")
}

function labelName(name: string): string {
  return name.replace(/[^a-zA-Z0-9_]/g, "_").replace(/^(?=\d)/, "_")
}

/** Answers by route, method and status. Routes are patterns, so their number is fixed. */
export class RequestCounts {
  readonly #counts = new Map<string, { labels: Record<string, string>; value: number }>()

  add(labels: { readonly method: string; readonly route: string; readonly status: string }): void {
    const key = `${labels.method} ${labels.route} ${labels.status}`
    const count = this.#counts.get(key)
    if (count) count.value++
    else this.#counts.set(key, { labels: { ...labels }, value: 1 })
  }

  metrics(): Metric[] {
    return [...this.#counts.values()].map(({ labels, value }) => ({
      name: "troupe_http_requests_total",
      help: "Answers by route, method and status.",
      type: "counter",
      labels,
      value,
    }))
  }
}
