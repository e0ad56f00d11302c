/** Running a short tool (git, tailscale, nvidia-smi) with caps on its time and output. Never for jobs. */
import { execFile } from "node:child_process"

export interface ToolResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** Rejects when the program cannot be started, is killed, or exceeds a cap; a non-zero exit is a result. */
export function runTool(
  command: string,
  args: readonly string[],
  options: { timeoutMs: number; outputBytesMax?: number; env?: NodeJS.ProcessEnv },
): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    const limits = {
      timeout: options.timeoutMs,
      killSignal: "SIGKILL" as const,
      maxBuffer: options.outputBytesMax ?? 1 << 20,
      ...(options.env && { env: options.env }),
    }
    execFile(command, [...args], limits, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : error.code
      if (typeof exitCode === "number") resolve({ exitCode, stdout, stderr })
      else reject(error)
    })
  })
}
