/** consensus: Raft as a machine with inputs (tick, step, propose, advance) and one output (Ready). Shaped like etcd-io/raft. */
export * from "./types.ts"
