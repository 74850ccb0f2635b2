/** vLLM's command line and environment, from options and files alone: no other file of this plugin knows its flags. */
import { type ServerFiles } from "../serving/ServerFiles.ts"
import type { Options } from "./Options.ts"

export interface Launch {
  readonly program: string
  readonly options: Options
  readonly files: ServerFiles
  /** that the gateway asks for */
  readonly name: string
  readonly listen: { readonly socket: string } | { readonly port: number }
  /** of the adapter, where there is one */
  readonly loraRank?: number
}

/** What `--max-lora-rank` may be: vLLM has kernels for these. */
const RANKS = [1, 8, 16, 32, 64, 128, 256, 320, 512]
export const LARGEST_RANK = 512

/** vLLM does not bind a socket whose file is left from a life before (0.32: "Address already in use"), and its supervisor may start it again. */
const anew = (socket: string): readonly [string, ...Array<string>] => ["/bin/sh", "-c", 'rm -f -- "$1"; shift; exec "$@"', "vllm", socket]

export const vllmCommand = ({ files, listen, loraRank, name, options, program }: Launch): readonly [string, ...Array<string>] => [
  ...("socket" in listen ? [...anew(listen.socket), program] as const : [program] as const),
  "serve", files.model,
  "--tokenizer", files.tokenizer,
  // with an adapter, the name is the adapter's: the base must be called something else
  "--served-model-name", files.adapter === undefined ? name : `${name}.base`,
  ...(files.adapter === undefined ? [] : ["--enable-lora", "--max-lora-rank", String(RANKS.find((rank) => rank >= (loraRank ?? 16)) ?? LARGEST_RANK), "--lora-modules", JSON.stringify({ name, path: files.adapter })]),
  ...("socket" in listen ? ["--uds", listen.socket] : ["--host", "127.0.0.1", "--port", String(listen.port)]),
  "--dtype", options.dtype,
  ...(options.maxModelLen === undefined ? [] : ["--max-model-len", String(options.maxModelLen)]),
  ...(options.tensorParallel === 1 ? [] : ["--tensor-parallel-size", String(options.tensorParallel)]),
  ...(options.gpuMemoryUtilization === undefined ? [] : ["--gpu-memory-utilization", String(options.gpuMemoryUtilization)]),
  ...(options.maxSequences === undefined ? [] : ["--max-num-seqs", String(options.maxSequences)]),
  ...(options.eager === true ? ["--enforce-eager"] : []),
  // what is asked is private: never in a log
  "--no-enable-log-requests"
]

/** Devices and threads are the machine's affair and pass through; so do vLLM's own settings, but for its key: the gateway has its own. */
const PASSED = /^(PATH|TMPDIR|LD_LIBRARY_PATH|CUDA_\w+|NVIDIA_\w+|NCCL_\w+|HIP_\w+|ROCR_\w+|OMP_\w+|MKL_NUM_THREADS|VLLM_(?!API_KEY$)\w+)$/

/** `cache`: of the user; what vLLM compiles for a model is used again by its next start. */
export const vllmEnv = (directory: string, cache: string, environment: Readonly<Record<string, string | undefined>>): Record<string, string> => ({
  ...Object.fromEntries(Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined && PASSED.test(entry[0]))),
  HOME: directory,
  HF_HOME: `${directory}/hf`,
  VLLM_CACHE_ROOT: `${cache}/vllm`,
  // the model is here already, and nobody is told that it is served
  HF_HUB_OFFLINE: "1",
  TRANSFORMERS_OFFLINE: "1",
  VLLM_NO_USAGE_STATS: "1",
  DO_NOT_TRACK: "1",
  LANG: "C.UTF-8",
  PYTHONNOUSERSITE: "1",
  PYTHONUNBUFFERED: "1"
})
