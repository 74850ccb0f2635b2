/** Completion scripts, made from the commands themselves so that they cannot fall behind. */
import type { Command } from "commander"
import { CliError, ExitCode } from "../ExitCode.ts"

const words = (command: Command): Array<string> => [
  ...command.commands.map((c) => c.name()),
  ...command.options.map((o) => o.long ?? o.short ?? "").filter((o) => o !== ""),
  "--help"
]

const bash = (program: Command): string =>
  `_hyper() {
  local cur=\${COMP_WORDS[COMP_CWORD]} words
  case "\${COMP_WORDS[1]}" in
${program.commands.map((c) => `    ${c.name()}) words="${words(c).join(" ")}" ;;`).join("\n")}
    *) words="${words(program).join(" ")}" ;;
  esac
  [ "$COMP_CWORD" -eq 1 ] && words="${words(program).join(" ")}"
  COMPREPLY=($(compgen -W "$words" -- "$cur") $(compgen -f -X '!*.[tj]s' -- "$cur"))
}
complete -F _hyper hyper
`

const fish = (program: Command): string =>
  program.commands
    .flatMap((c) => [
      `complete -c hyper -n __fish_use_subcommand -a ${c.name()} -d '${c.description().replaceAll("'", "")}'`,
      ...c.options.map((o) => `complete -c hyper -n '__fish_seen_subcommand_from ${c.name()}' -l ${(o.long ?? "").replace(/^--/, "")} -d '${o.description.replaceAll("'", "")}'`)
    ])
    .join("\n") + "\n"

export const completion = async (shell: string, program: Command): Promise<ExitCode> => {
  if (shell !== "bash" && shell !== "zsh" && shell !== "fish") throw new CliError(ExitCode.usage, `no completion for ${shell}`, { remedy: "bash, zsh or fish" })
  process.stdout.write(shell === "fish" ? fish(program) : `${shell === "zsh" ? "autoload -U +X bashcompinit && bashcompinit\n" : ""}${bash(program)}`)
  return ExitCode.ok
}
