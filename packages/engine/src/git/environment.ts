/**
 * What git is told, and all that it is told. Its environment is made here and holds nothing of this process's but the way to programs,
 * certificates and proxies; its configuration is the mirror's own file, written here. Whatever a repository, a home directory or the
 * system says does not count: hooks, aliases, filters, credential helpers, other transports, URL rewriting.
 */
import * as Redacted from "effect/Redacted"
import type { Access } from "./Git.ts"
import type { Address } from "./address.ts"

const HANDED_ON = ["PATH", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"]

/** The mirror's `config`. */
export const mirrorConfig = `[core]
	repositoryformatversion = 0
	bare = true
	hooksPath = /dev/null
	fsmonitor = false
	attributesFile = /dev/null
	excludesFile = /dev/null
	askPass =
	logAllRefUpdates = false
	symlinks = false
[credential]
	helper =
[fetch]
	recurseSubmodules = false
	writeCommitGraph = false
	prune = false
[submodule]
	recurse = false
[http]
	followRedirects = false
	lowSpeedLimit = 100
	lowSpeedTime = 30
[gc]
	autoDetach = false
[protocol]
	version = 2
[push]
	gpgSign = false
	followTags = false
[user]
	name = hyper
	email = hyper@localhost
	useConfigOnly = true
`

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** Only the key that is named, only hosts that are known, no agent, no configuration, no question. */
const sshCommand = (access: Extract<Access, { kind: "ssh" }>): string =>
  [
    "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", quoted(`UserKnownHostsFile="${access.knownHosts}"`), "-o", "GlobalKnownHostsFile=/dev/null",
    "-o", "UpdateHostKeys=no", "-o", "IdentityAgent=none", "-o", "IdentitiesOnly=yes", "-o", "ForwardAgent=no", "-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no",
    "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=2", "-o", "PasswordAuthentication=no", "-o", "KbdInteractiveAuthentication=no",
    ...(access.key === undefined ? [] : ["-i", quoted(access.key)])
  ].join(" ")

const headerOf = ({ secret, user }: Extract<Access, { kind: "http" }>): string => `Authorization: Basic ${Buffer.from(`${user}:${Redacted.value(secret)}`, "utf8").toString("base64")}`

/** What may not be told in words: the secret itself, and the forms that git is given it in. */
export const secretsOf = (access: Access): ReadonlyArray<string> => (access.kind === "http" ? [Redacted.value(access.secret), headerOf(access).slice("Authorization: Basic ".length)] : [])

/** The whole environment. A credential is in it, and so never in an argument, a file or the mirror's configuration; it is sent to this server only. */
export const gitEnvironment = (address: Address, access: Access, home: string): Record<string, string> => {
  const environment: Record<string, string> = {
    HOME: home,
    LC_ALL: "C",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_ATTR_NOSYSTEM: "1",
    GIT_TERMINAL_PROMPT: "0",
    GIT_NO_REPLACE_OBJECTS: "1",
    GIT_LITERAL_PATHSPECS: "1",
    GIT_OPTIONAL_LOCKS: "0",
    GIT_ALLOW_PROTOCOL: address.transport
  }
  for (const name of HANDED_ON) {
    const value = process.env[name]
    if (value !== undefined && value !== "") environment[name] = value
  }
  if (access.kind === "ssh") {
    environment["GIT_SSH_COMMAND"] = sshCommand(access)
    environment["GIT_SSH_VARIANT"] = "ssh"
  }
  if (access.kind === "http") {
    environment["GIT_CONFIG_COUNT"] = "1"
    environment["GIT_CONFIG_KEY_0"] = `http.${new URL(address.url).origin}/.extraHeader`
    environment["GIT_CONFIG_VALUE_0"] = headerOf(access)
  }
  return environment
}
