/** How our Python is started: our own package only on its path, nothing from the network, no settings of the user's shell. */
import { fileURLToPath } from "node:url"

const packages = fileURLToPath(new URL("./python", import.meta.url)).replace(/\/$/, "")

/** Devices and threads are the machine's affair and pass through. */
const PASSED = ["PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "TMPDIR"]

export const pythonEnv = (directory: string): Record<string, string> => ({
  ...Object.fromEntries(PASSED.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]))),
  HOME: directory,
  HF_HOME: `${directory}/hf`,
  HF_HUB_OFFLINE: "1",
  TRANSFORMERS_OFFLINE: "1",
  LANG: "C.UTF-8",
  PYTHONPATH: packages,
  PYTHONUNBUFFERED: "1",
  PYTHONDONTWRITEBYTECODE: "1",
  PYTHONNOUSERSITE: "1",
  TOKENIZERS_PARALLELISM: "false"
})
