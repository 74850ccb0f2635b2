/** Which vLLM, and what it could run on. We install none: it is large, and chosen to fit drivers and GPUs. */
import { accessSync, constants, existsSync, statSync } from "node:fs"
import { delimiter, isAbsolute, join } from "node:path"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { Options } from "./Options.ts"

type Environment = Readonly<Record<string, string | undefined>>

const isProgram = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/** `HYPER_VLLM`, else `vllm` on the PATH. */
const programIn = (environment: Environment): string | undefined => {
  const named = environment["HYPER_VLLM"]
  if (named !== undefined && named !== "") return isAbsolute(named) && isProgram(named) ? named : undefined
  return (environment["PATH"] ?? "").split(delimiter).filter(isAbsolute).map((directory) => join(directory, "vllm")).find(isProgram)
}

/** Files of the drivers: NVIDIA's, AMD's (ROCm), and NVIDIA's under WSL. */
export const GPU_FILES = ["/dev/nvidiactl", "/dev/kfd", "/dev/dxg"]

/** The program to start, or why none can be: said at plan time, and again when the step runs (perhaps on another day). */
export const usableVllm = (options: Pick<Options, "device">, environment: Environment = process.env, hasGpu: boolean = GPU_FILES.some((path) => existsSync(path))): string | StageError => {
  if (options.device === "auto" && !hasGpu) {
    return new StageError({
      reason: "Missing",
      message: `vLLM needs a GPU, and this machine shows none (no ${GPU_FILES.join(", ")}).`,
      remedy: 'Serve with transformers(), which runs on a CPU; or install a build of vLLM for CPUs and write vllm({ device: "cpu" }).'
    })
  }
  const program = programIn(environment)
  if (program !== undefined) return program
  const named = environment["HYPER_VLLM"]
  return new StageError({
    reason: "Missing",
    message: named === undefined || named === "" ? "There is no program `vllm` on the PATH of the daemon." : `HYPER_VLLM is ${named}, which is no absolute path of a program.`,
    remedy: "Install vLLM in a Python environment of its own (`python -m venv vllm && vllm/bin/pip install vllm`), set HYPER_VLLM to its bin/vllm, and run `hyper stop` so that the daemon sees it."
  })
}
