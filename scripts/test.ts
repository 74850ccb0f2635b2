/**
 * `npm test`: types, lint, every test; ends with `N passed, N failed`. With CI=true it installs the Debian packages it needs and a
 * missing component is a failure; without, it says what this machine lacks and what is therefore not tested.
 */
import { type SpawnSyncOptions, spawnSync } from "node:child_process"
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { preparePython } from "./preparePython.ts"

const root = resolve(import.meta.dirname, "..")
const ci = process.env["CI"] === "true"
const bin = (name: string): string => join(root, "node_modules/.bin", name)

interface Component {
  readonly name: string
  readonly debian: string
  readonly found: () => boolean
  readonly for: string
}

const onPath = (name: string): boolean => (process.env["PATH"] ?? "").split(":").some((directory) => existsSync(join(directory, name)))

const components: ReadonlyArray<Component> = [
  { name: "bwrap", debian: "bubblewrap", found: () => onPath("bwrap"), for: "the sandbox" },
  { name: "age", debian: "age", found: () => onPath("age"), for: "interoperability of sealed segments" },
  { name: "sshd", debian: "openssh-server", found: () => existsSync("/usr/sbin/sshd"), for: "a repository over SSH" },
  { name: "skopeo", debian: "skopeo", found: () => onPath("skopeo"), for: "an independent reader of packages" },
  { name: "docker-registry", debian: "docker-registry", found: () => onPath("docker-registry"), for: "pushing to and pulling from a real registry" },
  { name: "openssl", debian: "openssl", found: () => onPath("openssl"), for: "certificates of a test's registry" },
  { name: "dockerd", debian: "docker.io", found: () => ["/usr/sbin/dockerd", "/usr/bin/dockerd"].some(existsSync), for: "containers" },
  { name: "g++", debian: "g++", found: () => onPath("g++"), for: "a real Ollama, built from its Go module" },
  { name: "chromium", debian: "chromium", found: () => existsSync("/usr/bin/chromium"), for: "the page in a real browser" },
  { name: "postgresql", debian: "postgresql-15", found: () => existsSync("/usr/lib/postgresql/15/bin/initdb"), for: "DATABASE_URL against a PostgreSQL of Debian's" }
]

const run = (label: string, command: string, args: ReadonlyArray<string>, options: SpawnSyncOptions = {}): boolean => {
  const started = Date.now()
  process.stdout.write(`\n── ${label}\n`)
  const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit", env: process.env, ...options })
  process.stdout.write(`── ${label}: ${status === 0 ? "ok" : `failed (${status})`} in ${((Date.now() - started) / 1000).toFixed(0)} s\n`)
  return status === 0
}

const lacking = () => components.filter((c) => !c.found())
if (ci && lacking().length > 0) {
  const sudo = process.getuid?.() === 0 ? [] : ["sudo", "-n"]
  const apt = [...sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
  const [command = "", ...args] = apt
  run("package lists", command, [...args, "update", "-qq"])
  run(`Debian packages: ${lacking().map((c) => c.debian).join(" ")}`, command, [...args, "install", "-y", "-qq", "--no-install-recommends", ...lacking().map((c) => c.debian)])
}

let passed = 0
let failed = 0
const count = (ok: boolean): void => {
  if (ok) passed++
  else failed++
}
for (const component of lacking()) {
  if (ci) failed++
  process.stdout.write(`${ci ? "MISSING" : "not tested here"}: ${component.for}: no ${component.name} (apt-get install ${component.debian})\n`)
}

const only = process.argv.slice(2)
if (only.length === 0) {
  count(run("types", bin("turbo"), ["run", "check", "--output-logs=errors-only", "--no-update-notifier"]))
  count(run("lint", bin("oxlint"), ["--quiet"]))
}

const python = await preparePython()
if (python === undefined) {
  if (ci) failed++
  process.stdout.write(`${ci ? "MISSING" : "not tested here"}: training and serving: no Python environment\n`)
}

// Tests run things as other users (the database, sandboxes), who must be able to pass; and sockets want short paths.
const scratch = mkdtempSync(join(process.getuid?.() === 0 ? "/tmp" : tmpdir(), "ht-"))
chmodSync(scratch, 0o755)
const report = join(scratch, "report.json")
/** A report that is missing or empty is a failure: a runner that died must not count as nothing failed. */
const vitest = (project: string): void => {
  rmSync(report, { force: true })
  const ok = run(`tests: ${project}`, bin("vitest"), ["run", "--project", project, "--reporter=default", "--reporter=json", `--outputFile=${report}`, ...only], {
    env: { ...process.env, TMPDIR: scratch, ...(python === undefined ? {} : { HYPER_PYTHON: python }) }
  })
  if (!existsSync(report)) return count(false)
  const totals = JSON.parse(readFileSync(report, "utf8")) as { numPassedTests: number; numFailedTests: number; numFailedTestSuites: number }
  passed += totals.numPassedTests
  failed += totals.numFailedTests + (ok || totals.numFailedTests > 0 ? 0 : Math.max(1, totals.numFailedTestSuites))
}
vitest("unit")
vitest("live")
rmSync(scratch, { recursive: true, force: true })

process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)
