/**
 * A repository's address: https, ssh, http to this machine only, or a directory of this machine. One transport each, and nothing in it
 * that git or ssh could take for an option or a command (`ext::`, `--upload-pack=`, a host that begins with a dash). Throws GitError.
 */
import { existsSync } from "node:fs"
import { isAbsolute, resolve } from "node:path"
import { GitError } from "./GitError.ts"
import { printable } from "./printable.ts"

export interface Address {
  /** as git is given it: no credential in it */
  readonly url: string
  /** the one transport that git may use */
  readonly transport: "https" | "http" | "ssh" | "file"
  /** of the server, with its port; empty for a directory */
  readonly host: string
}

const refused = (message: string, remedy: string): GitError => new GitError({ reason: "Address", message, remedy })

const SCP = /^(?:([A-Za-z0-9_][A-Za-z0-9._-]*)@)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]):(?!\/\/)([^-\s].*)$/
const CONTROL = /[\p{Cc} ]/u

const isLoopback = (hostname: string): boolean => hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname)

const fromUrl = (text: string): Address => {
  const url = new URL(text)
  const transport = url.protocol.slice(0, -1)
  if (url.password !== "" || (url.username !== "" && transport !== "ssh")) {
    throw refused(
      `the address of ${printable(url.host)} has a credential in it: addresses end up in logs and process lists`,
      "take it out of the address, put it into an environment variable and name that: hyper watch https://host/owner/repo --secret NAME"
    )
  }
  if (transport !== "https" && transport !== "http" && transport !== "ssh" && transport !== "file") {
    throw refused(`${printable(transport)}:// is not a transport that hyper watch uses`, "use https://, ssh:// or a directory of this machine")
  }
  if (transport === "http" && !isLoopback(url.hostname)) throw refused(`http:// to ${printable(url.host)} would send code and credentials readable by all`, `use https://${printable(url.host)} or ssh`)
  if (url.search !== "" || url.hash !== "") throw refused("the address has a query or a fragment", "give the repository's address alone")
  if (transport === "file") return fromDirectory(decodeURIComponent(url.pathname))
  if (!/^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)$/.test(url.hostname) || (url.username !== "" && !/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(url.username))) {
    throw refused("the host or user of the address begins with a dash or has characters that no host has", "give the address as the forge shows it")
  }
  if (url.pathname.length < 2 || url.pathname.startsWith("/-")) throw refused("the address names no repository", "for example https://host/owner/repo.git")
  return { url: url.href, transport, host: url.host }
}

const fromDirectory = (text: string): Address => {
  const path = resolve(text)
  if (!existsSync(path)) throw new GitError({ reason: "NotFound", message: `there is no repository ${printable(text)}`, remedy: "give a URL (https://host/owner/repo), user@host:path, or a directory that is there" })
  return { url: path, transport: "file", host: "" }
}

export const parseAddress = (text: string): Address => {
  if (text === "" || text.length > 2_000 || CONTROL.test(text)) throw refused("the address is empty, or has spaces or control characters", "for example https://host/owner/repo.git")
  if (text.startsWith("-")) throw refused(`${printable(text)} looks like an option, not like a repository`, "an address begins with a scheme, a host or a path; a directory whose name begins with a dash is written ./-name")
  if (/^[A-Za-z0-9]+::/.test(text)) throw refused(`${printable(text.slice(0, text.indexOf(":")))}:: starts a helper program of git's`, "use https://, ssh:// or a directory of this machine")
  if (/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text)) {
    if (!URL.canParse(text)) throw refused("the address is not a URL", "for example https://host/owner/repo.git")
    return fromUrl(text)
  }
  const scp = isAbsolute(text) || text.startsWith("./") || text.startsWith("../") ? null : SCP.exec(text)
  if (scp !== null) return { url: text, transport: "ssh", host: scp[2] as string }
  return fromDirectory(text)
}

/** `main`, `feature/x`. Never begins with a dash, never a revision expression. Rules of git-check-ref-format. */
export const parseBranch = (text: string): string => {
  const name = text.replace(/^refs\/heads\//, "")
  const bad = name === "" || name.length > 200 || name === "@" || /^[-/.]|[/.]$|\.\.|\/\/|\/\.|\.lock(\/|$)|@\{|[~^:?*[\\]/.test(name) || CONTROL.test(name)
  if (bad) throw refused(`${printable(text)} is not the name of a branch`, "for example --branch main")
  return name
}

/** Relative to the repository's root, `/`-separated, without a slash at the end; empty for all of it. */
export const parsePath = (text: string): string => {
  const path = text.replaceAll("\\", "/").replace(/^(\.\/)+/, "").replace(/\/+$/, "")
  if (path === "" || path === ".") return ""
  if (path.startsWith("/") || path.startsWith("-") || path.split("/").some((part) => part === "" || part === "." || part === "..") || CONTROL.test(path.replaceAll(" ", ""))) {
    throw refused(`${printable(text)} is not a path inside the repository`, "for example --path pipelines/")
  }
  return path
}
