/** Histories of runs: what clients of a cluster were told, simulated or real, and whether that can be true. */
export {
  attemptsOf,
  type AttemptSight,
  type Page,
  type RunCall,
  type RunHistory,
  type RunOutput,
  type Sight,
  sightOf,
} from "./calls.ts"
export { checkRuns } from "./check-runs.ts"
export { RunRecorder } from "./run-recorder.ts"
export { fencesGrow } from "./whole.ts"
