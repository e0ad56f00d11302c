/** Small frames of both sides of the socket: many of one turn, one system call. */
import type { Socket } from "node:net"

/** What is sent in one turn of the loop leaves in one write. */
export function sendTogether(socket: Socket, frame: Uint8Array): void {
  if (socket.writableCorked === 0) {
    socket.cork()
    setImmediate(() => socket.uncork())
  }
  socket.write(frame)
}
