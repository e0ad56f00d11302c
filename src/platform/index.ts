/** platform: clock, chance, log, and running a short tool with caps. */
export type { Clock, Logger, Random, Timer } from "./types.ts"
export { createClock } from "./clock.ts"
export { createLoopProbe, type LoopDelay, loopOfThisProcess, type LoopProbe } from "./loop-probe.ts"
export { createRandom } from "./random.ts"
export { createLogger, type LogLevel, silentLogger } from "./logger.ts"
export { runTool, type ToolResult } from "./tool.ts"
export { until } from "./until.ts"
