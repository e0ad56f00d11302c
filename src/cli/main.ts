#!/usr/bin/env node
/** The first file of the `troupe` command: checks the Node that runs it, then loads the rest. Must parse on old Nodes. */
const version = process.versions.node.split(".").map(Number)
if (version[0]! < 22 || (version[0] === 22 && version[1]! < 18)) {
  process.stderr.write(
    `error: troupe needs Node 22.18 or newer; this is ${process.version} (${process.execPath})\n` +
      "  install a newer one from https://nodejs.org, or put it first on PATH\n",
  )
  process.exitCode = 2
} else {
  // A dynamic import, so that nothing newer is even parsed before the check.
  void import("./program.ts").then((program) => program.main(process.argv.slice(2)))
}
