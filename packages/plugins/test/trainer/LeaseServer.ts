/** A lease server for tests of the trainer: the protocol of packages/engine/src/keys/Leases.ts, without policy, log or expiry. */
import { randomBytes } from "node:crypto"
import { rmSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { recipientBytes, wrap, type SealedFile } from "./ageFile.ts"

export interface LeaseServer {
  readonly tokens: ReadonlyArray<string>
  /** public keys that asked, by slot: each must be new */
  readonly recipients: ReadonlyArray<{ readonly slot: number; readonly recipient: string }>
  readonly start: () => Promise<void>
  readonly stop: () => Promise<void>
  /** answer every request with this error from now on */
  refuse: string | undefined
}

export const leaseServer = (socketPath: string, slots: ReadonlyArray<ReadonlyArray<{ readonly index: number; readonly file: SealedFile }>>): LeaseServer => {
  const tokens = slots.map(() => randomBytes(24).toString("base64url"))
  const recipients: Array<{ slot: number; recipient: string }> = []
  let server: Server | undefined
  const self: LeaseServer = {
    tokens,
    recipients,
    refuse: undefined,
    start: () =>
      new Promise((resolve, reject) => {
        rmSync(socketPath, { force: true })
        server = createServer((connection) => {
          let text = ""
          connection.on("error", () => connection.destroy())
          connection.on("data", (piece) => {
            text += piece.toString()
            if (!text.endsWith("\n")) return
            const request = JSON.parse(text) as { v: number; token: string; slot: number; recipient: string }
            const answer =
              self.refuse !== undefined
                ? { v: 1, error: self.refuse }
                : request.v !== 1 || tokens[request.slot] !== request.token
                  ? { v: 1, error: "the token does not hold for this slot" }
                  : {
                      v: 1,
                      segments: (slots[request.slot] ?? []).map(({ index, file }) => ({
                        index,
                        header: wrap(file.fileKey, recipientBytes(request.recipient)).toString("base64"),
                        payloadOffset: file.payloadOffset
                      }))
                    }
            if (!("error" in answer)) recipients.push({ slot: request.slot, recipient: request.recipient })
            connection.end(`${JSON.stringify(answer)}\n`)
          })
        })
        server.once("error", reject)
        server.listen(socketPath, resolve)
      }),
    stop: () => new Promise((resolve) => (server === undefined ? resolve() : server.close(() => resolve())))
  }
  return self
}
