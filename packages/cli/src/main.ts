/** `hyper`: the command line. Commands are loaded when called, so that each pays for itself only. */
import { Command, CommanderError, Option } from "commander"
import { collectParam } from "./commands/pipeline.ts"
import { CliError, ExitCode } from "./ExitCode.ts"
import { version } from "./version.ts"

const API = ["--api <url>", "another API than this home's daemon (key in HYPER_API_KEY)"] as const
const JSON_FLAG = ["--json", "JSON on standard output, one document or one event a line"] as const

/** Runs a command and leaves with its exit code; a thrown error becomes a message that says what, where and what next. */
const run = (action: () => Promise<ExitCode>): Promise<void> =>
  action().then(
    (code) => { process.exitCode = code },
    (error: unknown) => {
      const json = process.argv.includes("--json")
      const known = error instanceof CliError
      const message = error instanceof Error ? error.message : String(error)
      if (json) process.stdout.write(`${JSON.stringify({ type: "error", code: known ? error.code : "internal", message, ...(known && error.remedy !== undefined ? { remedy: error.remedy } : {}) })}\n`)
      else {
        process.stderr.write(`hyper: ${message}\n`)
        if (known && error.remedy !== undefined) process.stderr.write(`  ${error.remedy.replaceAll("\n", "\n  ")}\n`)
        if (!known && error instanceof Error && process.env["HYPER_DEBUG"] !== undefined) process.stderr.write(`${error.stack}\n`)
      }
      process.exitCode = known ? error.exitCode : ExitCode.failed
    }
  )

const program = new Command("hyper")
  .description("Fine-tune an open-source model on private data and get an OpenAI-compatible endpoint.")
  .version(version, "-v, --version")
  .showHelpAfterError("(hyper --help shows every command)")
  .configureHelp({ sortSubcommands: false })
  .addHelpText(
    "after",
    `
Examples:
  hyper run pipelines/quickstart.ts          train, package, serve and settle the example
  hyper plan pipeline.ts                     what would happen, what is cached, what it costs; starts nothing
  hyper status latest --watch                follow the newest run
  hyper serve                                the API and the page, with a one-time login link

Exit codes:
  0 done   1 the run failed   2 wrong usage   3 the pipeline does not plan   4 refused, or something is missing here
  5 no such run, endpoint or file   6 the daemon or API cannot be reached   130 interrupted (the run goes on)

Environment:
  HYPER_HOME (.hyper)   HYPER_CACHE (~/.cache/hyper)   HYPER_PYTHON   DATABASE_URL   HYPER_API_KEY   HYPER_DEBUG`
  )
  .exitOverride()

program
  .command("init [directory]")
  .description("write a pipeline file to start from")
  .option("--force", "overwrite an existing pipeline.ts")
  .addHelpText("after", "\nExample:\n  hyper init support-bot && cd support-bot && hyper plan pipeline.ts")
  .action((directory: string | undefined, options) => run(async () => (await import("./commands/init.ts")).init(directory, options)))

program
  .command("plan <file>")
  .description("show the graph, what is cached and why, needs, cost and side effects; starts nothing")
  .option("--types", "type-check the file first")
  .option("-p, --param <name=value>", "a parameter of the pipeline, repeatable", collectParam)
  .option(...JSON_FLAG)
  .addHelpText("after", "\nExamples:\n  hyper plan pipelines/quickstart.ts\n  hyper plan pipeline.ts --param lr=1e-4 --json")
  .action((file: string, options) => run(async () => (await import("./commands/plan.ts")).plan(file, options)))

program
  .command("run <file>")
  .description("run a pipeline to its end and say what was made")
  .option("-p, --param <name=value>", "a parameter of the pipeline, repeatable", collectParam)
  .option("-d, --detach", "print the run's id and return")
  .addOption(new Option("--on-interrupt <what>", "what Ctrl-C does; without it, a terminal asks once and a pipe detaches").choices(["ask", "detach", "cancel"]))
  .option(...JSON_FLAG)
  .option(...API)
  .addHelpText("after", "\nExamples:\n  hyper run pipelines/quickstart.ts\n  hyper run pipeline.ts --param epochs=3 --json | jq .type\n\nCtrl-C does not kill the run: it lives in the daemon. You are asked once whether to cancel it; a second Ctrl-C leaves at once.")
  .action((file: string, options) => run(async () => (await import("./commands/run.ts")).run(file, options)))

program
  .command("resume <run>")
  .description("go on with a failed or cancelled run: what ended stays ended")
  .option(...JSON_FLAG)
  .option(...API)
  .addHelpText("after", "\nExample:\n  hyper resume latest")
  .action((id: string, options) => run(async () => (await import("./commands/run.ts")).resume(id, options)))

program
  .command("runs")
  .description("list runs, newest first")
  .option("-n, --limit <count>", "how many", "20")
  .option(...JSON_FLAG)
  .option(...API)
  .action((options) => run(async () => (await import("./commands/runs.ts")).runs(options)))

program
  .command("status [run]")
  .description("show a run: an id, the beginning of one, or latest")
  .option("-w, --watch", "follow it to its end")
  .option(...JSON_FLAG)
  .option(...API)
  .addHelpText("after", "\nExamples:\n  hyper status\n  hyper status 9f31 --watch")
  .action((id: string | undefined, options) => run(async () => (await import("./commands/runs.ts")).status(id ?? "latest", options)))

program
  .command("logs [run]")
  .description("what a run's stages said, and the output of its job")
  .option("-s, --step <id>", "of one step only")
  .option("-f, --follow", "go on until the run ends")
  .option(...JSON_FLAG)
  .option(...API)
  .action((id: string | undefined, options) => run(async () => (await import("./commands/runs.ts")).logs(id ?? "latest", options)))

program
  .command("cancel <run>")
  .description("stop a run: its jobs end, measured work is settled, checkpoints stay")
  .option(...JSON_FLAG)
  .option(...API)
  .action((id: string, options) => run(async () => (await import("./commands/runs.ts")).cancel(id, options)))

const endpoints = program
  .command("endpoints")
  .description("list live endpoints")
  .option(...JSON_FLAG)
  .option(...API)
  .addHelpText("after", "\nExamples:\n  hyper endpoints\n  hyper endpoints stop quickstart\n  hyper endpoints key quickstart")
  .action((options) => run(async () => (await import("./commands/endpoints.ts")).endpoints(options)))
endpoints
  .command("stop <endpoint>")
  .description("stop one, by id or model name")
  .action((name: string, _options, command: Command) => run(async () => (await import("./commands/endpoints.ts")).stopEndpoint(name, command.optsWithGlobals())))
endpoints
  .command("key <endpoint>")
  .description("print its API key")
  .action((name: string, _options, command: Command) => run(async () => (await import("./commands/endpoints.ts")).endpointKey(name, command.optsWithGlobals())))

const rewards = program
  .command("rewards")
  .description("balances of the ledger")
  .option(...JSON_FLAG)
  .option(...API)
  .addHelpText("after", "\nExamples:\n  hyper rewards\n  hyper rewards explain latest\n  hyper rewards address this <wallet>\n  hyper rewards payout --dry-run")
  .action((options) => run(async () => (await import("./commands/rewards.ts")).balances(options)))
rewards
  .command("explain <run>")
  .description("why a node was, or was not, paid for a run")
  .option("--node <key>", "one node only")
  .action((id: string, _options, command: Command) => run(async () => (await import("./commands/rewards.ts")).explain(id, command.optsWithGlobals())))
rewards
  .command("address <node> <wallet>")
  .description("register the Solana wallet that this machine's node is paid to, signed by its key")
  .addHelpText("after", "\n<node> is `this`, or the beginning of this machine's node key. An on-chain payment shows everybody which wallet belongs to the node.\n\nExample:\n  hyper rewards address this 7xKXtg2CW87d97TXJSDpbD5jBkheTqA83TZRuJosgAsU")
  .action((node: string, wallet: string, _options, command: Command) => run(async () => (await import("./commands/payouts.ts")).address(node, wallet, command.optsWithGlobals())))
rewards
  .command("payout")
  .description("pay what is due, now (the daemon does so by itself once a minute)")
  .option("--dry-run", "simulate each payment on the network; hold, sign and send nothing")
  .addHelpText("after", "\nExamples:\n  hyper rewards payout --dry-run\n  hyper rewards payout --json | jq '.payouts[].transaction'\n\nSettings: solana.json in the home, mode 600: rpc, mint, keyFile, limits { perPayout, perDay }. Killed at any moment, it pays once.")
  .action((_options, command: Command) => run(async () => (await import("./commands/payouts.ts")).payout(command.optsWithGlobals())))
const payouts = rewards
  .command("payouts")
  .description("list payouts, what is due, and registered wallets")
  .addHelpText("after", "\nExamples:\n  hyper rewards payouts\n  hyper rewards payouts abandon 0b7d4c1e-...")
  .action((_options, command: Command) => run(async () => (await import("./commands/payouts.ts")).payouts(command.optsWithGlobals())))
payouts
  .command("abandon <payout>")
  .description("give the amount of a payout that cannot be made back to its node; refused while a payment may still land")
  .action((id: string, _options, command: Command) => run(async () => (await import("./commands/payouts.ts")).abandon(id, command.optsWithGlobals())))

const keys = program
  .command("keys")
  .description("what the home's keyring holds: this node's identity, keys of data sets, secrets, endpoints")
  .option(...JSON_FLAG)
  .addHelpText("after", "\nExamples:\n  hyper keys\n  printf %s \"$HF_TOKEN\" | hyper keys set HF_TOKEN\n  hyper keys destroy dataset/3f2a")
  .action((options) => run(async () => (await import("./commands/keys.ts")).keys(options)))
keys
  .command("set <name>")
  .description("take a secret in, from standard input or typed unseen; pipelines name it as secret(name)")
  .action((name: string, _options, command: Command) => run(async () => (await import("./commands/keys.ts")).setKey(name, command.optsWithGlobals())))
keys
  .command("destroy <name>")
  .description("destroy a secret, or a data set's key: what it sealed is then closed for good")
  .option("-y, --yes", "without asking")
  .action((name: string, _options, command: Command) => run(async () => (await import("./commands/keys.ts")).destroyKey(name, command.optsWithGlobals())))

program
  .command("serve")
  .description("the daemon in the foreground, with the API and the page on loopback")
  .option("--port <port>", "port of the API and the page", "8480")
  .option("--login", "print a new one-time login link for a server that runs, and return")
  .option("--key <name>", "make an API key for scripts, print it once, and return")
  .option(...JSON_FLAG)
  .addHelpText("after", "\nExamples:\n  hyper serve\n  hyper serve --login\n  hyper serve --key ci")
  .action((options) => run(async () => (await import("./commands/serve.ts")).serve(options)))

program
  .command("watch <repository>")
  .description("plan, and where a policy allows run, each commit that adds or changes a pipeline file")
  .option("--branch <name>", "the branch", "main")
  .option("--path <path>", "a directory or file of the repository; without it, all of it")
  .option("--policy <file>", "what pipelines may do here, a JSON file of yours; without it they are planned only")
  .option("--once", "look once, wait for the runs and reports of what is new, and leave")
  .option("--interval <seconds>", "between looks", "30")
  .option("--secret <name>", "https: the environment variable or stored secret with the password or token")
  .option("--user <name>", "https: the user that goes with it", "x-access-token")
  .option("--ssh-key <file>", "ssh: the private key, mode 0600, without a passphrase")
  .option("--known-hosts <file>", "ssh: where the host's key is written; without it, ~/.ssh/known_hosts")
  .option("--status <forge=url>", "send commit statuses: github=, gitlab= or gitea= and the repository's page")
  .option("--token-secret <name>", "the secret with the forge's token")
  .option("--no-notes", "push no git notes (refs/notes/hyper)")
  .option("--accept-rewrite", "go on after a force-push")
  .option(...JSON_FLAG)
  .addHelpText(
    "after",
    `
Examples:
  hyper watch https://github.com/me/pipelines --secret GITHUB_TOKEN
  hyper watch git@host:me/pipelines.git --path pipelines/ --policy policy.json --ssh-key ~/.ssh/deploy
  hyper watch https://github.com/me/pipelines --once --json --status github=https://github.com/me/pipelines --token-secret GITHUB_TOKEN

A policy, for example {"run": true, "paths": ["pipelines/"], "limits": {"seconds": 3600}}, is read from your disk, never from the
repository. Each commit is handled once, whatever is restarted. The first look handles every pipeline file of the branch.
With --once, exit codes say what became of the commits: 0 all well, 1 a run failed, 3 one does not plan, 4 one is refused.`
  )
  .action((repository: string, options) => run(async () => (await import("./commands/watch.ts")).watch(repository, options)))

program
  .command("stop")
  .description("end everything this home runs: endpoints, gateway, jobs, daemon, database; runs go on at the next start")
  .option(...JSON_FLAG)
  .action((options) => run(async () => (await import("./commands/stop.ts")).stop(options)))

program
  .command("doctor")
  .description("check what this machine has and lacks, with remedies")
  .option(...JSON_FLAG)
  .action((options) => run(async () => (await import("./commands/doctor.ts")).doctor(options)))

program
  .command("completion <shell>")
  .description("print a completion script for bash, zsh or fish")
  .addHelpText("after", "\nExample:\n  source <(hyper completion bash)")
  .action((shell: string) => run(async () => (await import("./commands/completion.ts")).completion(shell, program)))

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) throw error
  process.exitCode = error.exitCode === 0 ? ExitCode.ok : ExitCode.usage
}
