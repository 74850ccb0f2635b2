/**
 * What a confined process cannot do. Each check is also made without a sandbox, where it must report the leak: a check that cannot
 * fail proves nothing.
 */
import { execFile, spawn } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { CurrentHome } from "../../src/capability/CurrentHome.ts"
import { type Confinement, Sandbox, type SandboxKind } from "../../src/capability/Sandbox.ts"
import { homeAt } from "../../src/Home.ts"
import { availableSandbox, likelySandbox, REMEDY } from "../../src/sandbox/available.ts"
import { availableBubblewrap } from "../../src/sandbox/availableBubblewrap.ts"
import { layer as sandboxLayer } from "../../src/sandbox/SystemSandbox.ts"
import { Containers } from "../../src/capability/Containers.ts"
import { layer as containersLayer } from "../../src/containers/DockerContainers.ts"
import { homeLabel, LABEL } from "../../src/containers/labels.ts"
import { noDockerd, startEngine, type TestEngine } from "../../src/testing/dockerEngine.ts"

const lacksBubblewrap = (await availableBubblewrap()).reason
const lacksDockerd = noDockerd()
if (lacksBubblewrap !== undefined) {
  if (process.env["CI"] === "true") throw new Error(`No sandbox can be made here: ${lacksBubblewrap}`)
  console.warn(`skipped: confinement (${lacksBubblewrap})`)
}
if (lacksDockerd !== undefined) console.warn(`skipped: confinement in a container (${lacksDockerd})`)

let root: string
const at = (name: string) => join(root, name)
const sandbox = <A, E>(use: (sandbox: Sandbox["Service"]) => Effect.Effect<A, E>): Promise<A> =>
  Effect.runPromise(Effect.flatMap(Sandbox, use).pipe(Effect.provide(sandboxLayer.pipe(Layer.provide(Layer.succeed(CurrentHome, homeAt(at("home"), at("cache"))))))))

const run = async (kind: SandboxKind, script: string, more: Partial<Confinement> = {}): Promise<string> => {
  const confinement: Confinement = { command: ["/bin/sh", "-c", script], readOnly: [at("given")], writable: [at("writable")], sockets: [], cwd: at("writable"), ...more }
  const [program, ...args] = await sandbox((s) => s.wrap(kind, confinement))
  return new Promise((resolve) => {
    const child = execFile(program, args, { cwd: at("writable"), env: { PATH: "/usr/bin:/bin:/usr/sbin:/sbin", MARK: "x" }, timeout: 60_000 }, (_, stdout, stderr) => resolve(stdout + stderr))
    child.stdin?.end()
  })
}

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "hs-")) // 0700: what is below must still be reachable inside
  for (const name of ["given", "writable", "home", "cache"]) mkdirSync(at(name), { recursive: true })
  writeFileSync(at("given/model.bin"), "weights")
  writeFileSync(at("private"), "canary-7391")
  for (const name of ["given", "given/model.bin", "private"]) chmodSync(at(name), 0o755)
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

const confines = (kind: "container" | "bubblewrap"): void => {
  /** [what, script that prints LEAK where it can] */
  const forbidden: ReadonlyArray<readonly [string, () => string]> = [
    ["read a file that was not given", () => `grep -q canary-7391 ${at("private")} && echo LEAK`],
    ["read the home directory", () => `ls / | grep -q "^home$" && echo LEAK`],
    ["read /etc/shadow", () => `{ [ -e /etc/shadow ] || [ -e /etc/machine-id ]; } && echo LEAK`],
    ["write where it was given to read", () => `touch ${at("given")}/x 2>/dev/null && rm ${at("given")}/x && echo LEAK`],
    ["see a process of the host", () => `grep -lsz "hs-planted-sleeper" /proc/[0-9]*/environ | grep -q . && echo LEAK`],
    ["see another network interface than loopback", () => `[ "$(grep -c : /proc/net/dev)" -gt 1 ] && echo LEAK`],
    ["gain privileges", () => `grep -q "NoNewPrivs:.0" /proc/self/status && echo LEAK`],
    ["be filtered by nothing", () => `grep -q "Seccomp:.0" /proc/self/status && echo LEAK`],
    ["dump core", () => `[ "$(ulimit -c)" != 0 ] && echo LEAK`]
  ]
  for (const [what, script] of forbidden) {
    it(`it cannot ${what}`, async () => {
      const sleeper = spawn("/bin/sleep", ["60"], { env: { NAME: "hs-planted-sleeper" }, stdio: "ignore" })
      try {
        expect(await run(kind, script())).not.toContain("LEAK")
        // the same check, unconfined. Core dumps may be off on this machine already: allow them first.
        expect(await run("none", what === "dump core" ? `ulimit -c unlimited 2>/dev/null; ${script()}` : script())).toContain("LEAK")
      } finally {
        sleeper.kill("SIGKILL")
      }
    })
  }

  it("it cannot write beside what it was given", async () => {
    // what is seen on the host counts: inside, the directory above may be one of the sandbox's own
    const script = `touch ${at("beside")}; touch /tmp/beside-${process.pid}`
    const leaks = () => [at("beside"), `/tmp/beside-${process.pid}`].filter((path) => existsSync(path))
    await run(kind, script)
    expect(leaks()).toEqual([])
    await run("none", script)
    expect(leaks()).toHaveLength(2)
    for (const path of leaks()) rmSync(path)
  })

  it("it cannot reach a server on the host's loopback", async () => {
    const server = createServer((socket) => socket.end("LEAK\n"))
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    try {
      const { port } = server.address() as { port: number }
      const script = `exec 3<>/dev/tcp/127.0.0.1/${port} && cat <&3`
      const command = ["/bin/bash", "-c", script] as const
      expect(await run(kind, "", { command })).not.toContain("LEAK")
      expect(await run("none", "", { command })).toContain("LEAK")
    } finally {
      server.close()
    }
  })

  it("it cannot make a namespace of its own or become root", async () => {
    const script = `unshare -U true 2>/dev/null && echo LEAK; unshare -Ur true 2>/dev/null && echo LEAK; id -u`
    expect(await run(kind, script)).toBe("65534\n")
    if (process.getuid?.() === 0) expect(await run("none", script)).toContain("LEAK")
  })

  it("it does work: reads what was given, writes where it may, talks to itself over loopback, gets a socket", async () => {
    mkdirSync(at("lease"), { recursive: true, mode: 0o700 })
    const server = createServer((socket) => socket.end("released\n"))
    await new Promise<void>((resolve) => server.listen(at("lease/s"), resolve))
    try {
      const said = await run(kind, `cat ${at("given/model.bin")}; echo; echo ok > result; touch /tmp/t /dev/shm/t && echo tmp; pwd; exec python3 -I -c '
import socket
a = socket.create_server(("localhost", 0)); b = socket.create_connection(("localhost", a.getsockname()[1])); print("loopback")
c = socket.socket(socket.AF_UNIX); c.connect("${at("lease/s")}"); print(c.recv(100).decode().strip())
print(socket.gethostbyname(socket.gethostname()))'`, { sockets: [at("lease/s")] })
      expect(said.trim().split("\n")).toEqual(["weights", "tmp", at("writable"), "loopback", "released", "127.0.0.1"])
      expect(readFileSync(at("writable/result"), "utf8")).toBe("ok\n")
    } finally {
      server.close()
    }
  })

  it("SIGTERM reaches the command, which may end in its own way; SIGKILL of the outside ends the inside", async () => {
    rmSync(at("writable/up"), { force: true })
    const [program, ...args] = await sandbox((s) =>
      s.wrap(kind, { command: ["/bin/sh", "-c", `trap "echo asked > asked; exit 3" TERM; echo > up; sleep 60 & wait`], readOnly: [], writable: [at("writable")], sockets: [], cwd: at("writable") }))
    const appears = async (name: string) => {
      for (let i = 0; i < 500 && !existsSync(at(`writable/${name}`)); i++) await new Promise((resolve) => setTimeout(resolve, 20))
      expect(existsSync(at(`writable/${name}`))).toBe(true)
    }
    const child = spawn(program, args, { detached: true, stdio: "ignore", env: { PATH: "/usr/bin:/bin" } })
    await appears("up")
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve))
    process.kill(-child.pid!, "SIGTERM")
    expect(await ended).toBe(3)
    expect(readFileSync(at("writable/asked"), "utf8")).toBe("asked\n")

    rmSync(at("writable/up"))
    const second = spawn(program, args, { detached: true, stdio: "ignore", env: { PATH: "/usr/bin:/bin", INSIDE: root } })
    await appears("up")
    const inside = () => new Promise<string>((resolve) => execFile("grep", ["-lsz", `INSIDE=${root}`, ...readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map((pid) => `/proc/${pid}/environ`)], (_, stdout) => resolve(stdout.trim())))
    expect(await inside()).not.toBe("")
    process.kill(second.pid!, "SIGKILL")
    let left = await inside()
    for (let i = 0; i < 100 && left !== ""; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      left = await inside()
    }
    expect(left).toBe("")

    // as its supervisor would: the same command again, over what the kill left
    rmSync(at("writable/up"))
    const third = spawn(program, args, { detached: true, stdio: "ignore", env: { PATH: "/usr/bin:/bin" } })
    await appears("up")
    const gone = new Promise((resolve) => third.once("exit", resolve))
    process.kill(-third.pid!, "SIGTERM")
    expect(await gone).toBe(3)
  })

  it.skipIf(process.getuid?.() !== 0)("as root: gives away what may be written without following links, and names what cannot be read", async () => {
    symlinkSync(at("private"), at("writable/link"))
    const before = statSync(at("private")).uid
    await run(kind, "true")
    expect(statSync(at("private")).uid).toBe(before)
    rmSync(at("writable/link"))
    chmodSync(at("given"), 0o700)
    const refused = await Effect.runPromise(Effect.flip(Effect.promise(() => sandbox((s) => Effect.result(s.wrap(kind, { command: ["/bin/true"], readOnly: [at("given")], writable: [], sockets: [], cwd: "/tmp" })))).pipe(Effect.flatMap(Effect.fromResult))))
    expect(refused).toMatchObject({ _tag: "SandboxRefused", message: expect.stringContaining(at("given")), remedy: expect.stringContaining("chmod") })
    chmodSync(at("given"), 0o755)
  })
}

describe.skipIf(lacksBubblewrap !== undefined)("confined by bubblewrap", () => confines("bubblewrap"))

describe.skipIf(lacksDockerd !== undefined)("confined by a container", () => {
  const nowhere = process.env["DOCKER_HOST"]
  let engine: TestEngine
  beforeAll(async () => {
    engine = await startEngine()
    process.env["DOCKER_HOST"] = engine.url
  })
  afterAll(async () => {
    if (nowhere !== undefined) process.env["DOCKER_HOST"] = nowhere
    await engine?.stop()
  })

  it("is the strongest there is, to a plan and to a run", async () => {
    expect([(await likelySandbox()).kind, (await availableSandbox()).kind]).toEqual(["container", "container"])
    expect(await sandbox((s) => s.choose("required"))).toBe("container")
    expect(await sandbox((s) => s.choose("auto"))).toBe("container")
    expect(await sandbox((s) => s.choose("none"))).toBe("none")
  })

  confines("container")

  it("hands over standard input, the environment and the exit status; carries its labels; leaves nothing", async () => {
    const [program, ...args] = await sandbox((s) => s.wrap("container", { command: ["/bin/sh", "-c", `cat; echo $MARK; ls / ; exit 9`], readOnly: [], writable: [at("writable")], sockets: [], cwd: at("writable"), labels: { [LABEL.run]: "run-7" } }))
    expect(args.at(-1)).toContain(`"${LABEL.run}":"run-7"`)
    const said = await new Promise<{ code: unknown; out: string }>((resolve) => {
      const child = execFile(program, args, { env: { PATH: "/usr/bin:/bin", MARK: "mark-1" } }, (error, out) => resolve({ code: error?.code, out }))
      child.stdin?.end("a token\n")
    })
    expect(said).toMatchObject({ code: 9, out: expect.stringMatching(/^a token\nmark-1\n/) })
    expect(await Effect.runPromise(Effect.provide(Effect.flatMap(Containers, (containers) => containers.list({ [LABEL.home]: homeLabel(at("home")) })), containersLayer))).toEqual([])
    expect(readdirSync(at("home/sandbox")).filter((name) => name.endsWith(".leash"))).toEqual([])
  })

  it("writes to memory only where it was given no directory, and no more than its limit: out of memory, in words", async () => {
    expect(await run("container", "grep -E ' (/tmp|/dev/shm) ' /proc/mounts | cut -d' ' -f2,3 | sort")).toBe("/dev/shm tmpfs\n/tmp tmpfs\n")
    expect(await run("container", "head -c 200000000 /dev/zero | tail -c 100000000 > /dev/null", { memory: 48 << 20 })).toMatch(/^error: container: Cannot allocate memory: its limit of 48 MiB was reached/m)
    expect(await run("container", "head -c 40000000 /dev/zero > /tmp/x || echo full", { memory: 48 << 20 })).toContain("No space left on device")
  })

  // last: its engine is gone afterwards
  it("an engine that is killed under it: the container ends too, and is said to have; bubblewrap is next", async () => {
    const [program, ...args] = await sandbox((s) => s.wrap("container", { command: ["/bin/sh", "-c", `echo > up2; exec sleep 600`], readOnly: [], writable: [at("writable")], sockets: [], cwd: at("writable") }))
    const ended = new Promise<{ code: unknown; err: string }>((resolve) => execFile(program, args, { env: { PATH: "/usr/bin:/bin", INSIDE: `${root}-2` } }, (error, _, err) => resolve({ code: error?.code, err })))
    for (let i = 0; i < 500 && !existsSync(at("writable/up2")); i++) await new Promise((resolve) => setTimeout(resolve, 20))
    await engine.kill()
    expect(await ended).toMatchObject({ code: 125, err: expect.stringMatching(/^error: container: .*stopped answering/) })
    let inside = "?"
    for (let i = 0; i < 100 && inside !== ""; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      inside = await new Promise<string>((resolve) => execFile("grep", ["-lsz", `INSIDE=${root}-2`, ...readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map((pid) => `/proc/${pid}/environ`)], (_, stdout) => resolve(stdout.trim())))
    }
    expect(inside).toBe("")
    if (lacksBubblewrap === undefined) expect(await sandbox((s) => s.choose("required"))).toBe("bubblewrap")
  })
})

describe("where no sandbox can be made", () => {
  it("required is refused with the remedy, auto and none go on without", () =>
    new Promise<void>((resolve, reject) => {
      // a process of its own, whose PATH has no bwrap and whose /usr/bin is hidden from the search
      const script = `
        import * as Effect from "effect/Effect"
        import * as Layer from "effect/Layer"
        const { Sandbox } = await import(${JSON.stringify(join(import.meta.dirname, "../../src/capability/Sandbox.ts"))})
        const { CurrentHome } = await import(${JSON.stringify(join(import.meta.dirname, "../../src/capability/CurrentHome.ts"))})
        const { layer } = await import(${JSON.stringify(join(import.meta.dirname, "../../src/sandbox/SystemSandbox.ts"))})
        Object.defineProperty(process, "platform", { value: "darwin" })
        const s = await Effect.runPromise(Sandbox.pipe(Effect.provide(layer.pipe(Layer.provide(Layer.succeed(CurrentHome, { root: "/tmp" }))))))
        const refused = await Effect.runPromise(Effect.flip(s.choose("required")))
        console.log(JSON.stringify([refused, await Effect.runPromise(s.choose("auto")), await Effect.runPromise(s.choose("none"))]))`
      execFile(process.execPath, ["--input-type=module", "-e", script], { cwd: import.meta.dirname }, (error, stdout, stderr) => {
        if (error !== null) return reject(new Error(stderr))
        const [refused, auto, none] = JSON.parse(stdout) as [{ message: string; remedy: string }, string, string]
        expect(refused.message).toContain("bubblewrap: Linux only")
        expect(refused.remedy).toBe(REMEDY)
        expect([auto, none]).toEqual(["none", "none"])
        resolve()
      })
    }))
})
