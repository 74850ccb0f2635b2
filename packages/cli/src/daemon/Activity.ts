/** Whether anybody still needs the daemon: open requests, a held TCP listener, recent calls. */
export class Activity {
  /** open `hyper serve` */
  holds = 0
  /** requests in flight, streams included */
  requests = 0
  /** of the TCP listener, while there is one */
  url: string | undefined
  lastAt = Date.now()

  touch(): void {
    this.lastAt = Date.now()
  }

  idleMillis(now: number): number {
    return this.holds > 0 || this.requests > 0 ? 0 : now - this.lastAt
  }
}
