/** From what git and ssh say to an error with a remedy. Their words differ between versions; what is not recognised is told as it is. */
import { GitError, type GitErrorReason } from "./GitError.ts"
import type { Address } from "./address.ts"
import { printable } from "./printable.ts"

type Known = readonly [pattern: RegExp, reason: GitErrorReason, message: (what: string) => string, remedy: (address: Address) => string]

const known: ReadonlyArray<Known> = [
  [/ENOENT/, "Missing", () => "git is not installed here", () => "install git (Debian: apt install git)"],
  [/Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|No \w+ host key is known/, "Denied", (what) => `the host key of ${what} is not the one in the known hosts file, or none is there`, ({ host }) => `compare the key with what the host's owner publishes, then add it to the file that --known-hosts names (ssh-keyscan ${host.replace(/:\d+$/, "")} prints it)`],
  [/Permission denied \((publickey|keyboard|password)|no mutual signature|Load key .*(invalid format|incorrect passphrase|error in libcrypto)/, "Denied", (what) => `${what} does not accept the SSH key`, () => "give a key without a passphrase that may read the repository: --ssh-key FILE"],
  [/UNPROTECTED PRIVATE KEY|bad permissions/, "Denied", () => "others may read the SSH key file", () => "chmod 600 the file; if others have read it, make a new key"],
  [/Authentication failed|could not read (Username|Password)|HTTP 401|HTTP 403|error: 40[13]|terminal prompts disabled/, "Denied", (what) => `${what} does not accept the credentials, or wants some`, ({ transport }) => (transport === "ssh" ? "check the key and the account" : "put a token that may read the repository into an environment variable and name it: --secret NAME")],
  [/repository .*not found|not found: did you run|does not appear to be a git repository|HTTP 404|error: 404|Repository not found|not a git repository/i, "NotFound", (what) => `there is no repository at ${what}, or these credentials may not see it`, () => "check the address; for a private repository also --secret NAME or --ssh-key FILE"],
  [/couldn't find remote ref|Remote branch .* not found/, "NoBranch", (what) => `${what} has no such branch`, () => "push it, or name another: --branch NAME"],
  [/dubious ownership/, "Denied", (what) => `${what} belongs to another user of this machine`, () => "watch it as its owner, or over ssh or https"],
  [/SSL|certificate|TLS/i, "Unreachable", (what) => `no secure connection to ${what} could be made`, () => "check the server's certificate; an authority of your own goes into GIT_SSL_CAINFO"],
  [/Could not resolve host|Name or service not known|Temporary failure in name resolution/, "Unreachable", (what) => `the host of ${what} has no address`, () => "check the spelling and the network; watching goes on by itself once it answers"],
  [/Failed to connect|Couldn't connect|Connection (refused|timed out|reset|closed)|Network is unreachable|No route to host|block timeout|unable to access|early EOF|hung up|Operation too slow|index-pack (failed|abort)|HTTP 5\d\d|error: 5\d\d/, "Unreachable", (what) => `${what} cannot be reached, or broke off`, () => "check that the server runs and that this machine may connect to it; watching goes on by itself once it answers"]
]

/** `doing`: what was tried, in words. `secrets` are struck out of what git said. */
export const gitFailure = (cause: unknown, address: Address, doing: string, secrets: ReadonlyArray<string>): GitError => {
  if (cause instanceof GitError) return cause
  const raw = cause instanceof Error ? cause.message : String(cause)
  const said = secrets.reduce((text, secret) => (secret === "" ? text : text.replaceAll(secret, "***")), raw)
  const found = known.find(([pattern]) => pattern.test(said))
  const lines = said.split("\n").map((line) => printable(line, 200)).filter((line) => line !== "" && !/^(remote: )?(Enumerating|Counting|Compressing|Receiving|Resolving|Total) /.test(line))
  const words = lines.filter((line) => /^(fatal|error|remote|ssh|kex|Host|Permission|@)/i.test(line)).slice(0, 3).join("; ") || lines.slice(0, 2).join("; ")
  const what = printable(address.url)
  if (found === undefined) return new GitError({ reason: "Failed", message: `${doing} of ${what} failed: ${words}`, remedy: "try the same with git itself; hyper doctor says which git is here" })
  const [, reason, message, remedy] = found
  return new GitError({ reason, message: `${message(what)} (${words})`, remedy: remedy(address) })
}
