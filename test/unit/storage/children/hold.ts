/** Locks a data directory and stays, or says why not and ends. Arguments: data directory. */
import { lockDirectory } from "../../../../src/storage/index.ts"

try {
  await lockDirectory(process.argv[2]!)
  process.stdout.write("locked\n")
  setInterval(() => {}, 1000)
} catch (error) {
  process.stdout.write(`refused: ${(error as Error).message}\n`)
}
