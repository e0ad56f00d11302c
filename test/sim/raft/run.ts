/** One run: a rough phase, then calm, in which everything must come to agree; the same again where it failed, to tell. */
import { act } from "./actions.ts"
import { agreeAll, agreeInCalm } from "./calm.ts"
import { InvariantError } from "./invariant.ts"
import { type PlannedEvent, plannedEvents } from "./plan.ts"
import { tryAll } from "./trials.ts"
import { World, type WorldOptions } from "./world.ts"

export interface RunOptions extends WorldOptions {
  /** Of the rough phase: messages, ticks, writes, whatever happens. */
  readonly steps: number
  /** Instead of those that the seed plans. */
  readonly events?: readonly PlannedEvent[] | undefined
}

export interface RunResult {
  readonly seed: number
  /** What broke. */
  readonly failure: string | undefined
  readonly steps: number
  readonly leaders: number
  readonly commit: number
  readonly acknowledged: number
  /** Calls of clients: answered, without answer, and histories that were too hard to judge. */
  readonly calls: number
  readonly unknown: number
  readonly unjudged: number
  /** How long the calm world took to agree. */
  readonly calmMs: number
  /** The events that came. */
  readonly events: readonly PlannedEvent[]
  /** What happened last, where it was asked for. */
  readonly notes: readonly string[]
}

export function runSimulation(options: RunOptions): RunResult {
  const world = new World(options)
  const events: PlannedEvent[] = []
  let failure: string | undefined
  let calmMs = 0
  let unjudged = 0
  try {
    follow(world, options.events?.values() ?? plannedEvents(options.seed, world.profile), events)
    while (world.steps < options.steps) world.step()
    calmMs = agreeInCalm(world)
    tryAll(world)
    const leader = agreeAll(world)
    world.checks.durable(leader.appliedIndex)
    world.clients.readLast(leader.state.registers)
    unjudged = world.clients.check()
  } catch (error) {
    // Every throw of the core is a broken assertion of ours, so it is a finding too.
    const reason = error instanceof InvariantError ? error.message : (error as Error).stack
    failure = `seed ${options.seed}, step ${world.steps}: ${reason}`
  }
  return {
    seed: options.seed,
    failure,
    steps: world.steps,
    leaders: world.checks.leadersSeen,
    commit: world.checks.highestCommit,
    acknowledged: world.checks.acknowledged.size,
    calls: world.clients.completed,
    unknown: world.clients.unknown,
    unjudged,
    calmMs,
    events,
    notes: world.notes,
  }
}

function follow(world: World, source: Iterator<PlannedEvent>, done: PlannedEvent[]): void {
  const { value: event } = source.next()
  if (event === undefined) return
  world.schedule(event.at - world.now, () => {
    if (world.isCalm) return
    done.push(event)
    act(world, event)
    follow(world, source, done)
  })
}
