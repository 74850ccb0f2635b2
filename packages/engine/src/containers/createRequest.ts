/**
 * What the engine is asked to create (Docker Engine API, ContainerCreate). Not for the asking: no capability, no new privilege, a limit on
 * processes, ports on loopback only, never privileged.
 */
import type { ContainerCreateOptions } from "dockerode"
import type { ContainerSpec } from "../capability/Containers.ts"

const LOG_BYTES = "10m"

export const createRequest = (spec: ContainerSpec): ContainerCreateOptions => {
  const ports = Object.entries(spec.ports ?? {})
  return {
    name: spec.name,
    Image: spec.image,
    Labels: { ...spec.labels },
    ...(spec.entrypoint === undefined ? {} : { Entrypoint: [...spec.entrypoint] }),
    ...(spec.command === undefined ? {} : { Cmd: [...spec.command] }),
    Env: Object.entries(spec.env ?? {}).map(([name, value]) => `${name}=${value}`),
    ...(spec.workingDirectory === undefined ? {} : { WorkingDir: spec.workingDirectory }),
    ...(spec.user === undefined ? {} : { User: spec.user }),
    ...(spec.hostname === undefined ? {} : { Hostname: spec.hostname }),
    OpenStdin: spec.stdin === true,
    StdinOnce: spec.stdin === true,
    ExposedPorts: Object.fromEntries(ports.map(([port]) => [`${port}/tcp`, {}])),
    HostConfig: {
      NetworkMode: spec.network,
      PortBindings: Object.fromEntries(ports.map(([port, host]) => [`${port}/tcp`, [{ HostIp: "127.0.0.1", HostPort: host === 0 ? "" : String(host) }]])),
      ReadonlyRootfs: spec.readOnlyRoot,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      PidsLimit: spec.pids,
      ...(spec.memory === undefined ? {} : { Memory: spec.memory, MemorySwap: spec.memory }),
      ...(spec.sharedMemory === undefined ? {} : { ShmSize: spec.sharedMemory }),
      Ulimits: [{ Name: "core", Soft: 0, Hard: 0 }],
      Mounts: spec.mounts.map(({ readOnly, source, target }) => ({ Type: "bind", Source: source, Target: target, ReadOnly: readOnly, BindOptions: { Propagation: "rprivate" } })),
      Tmpfs: Object.fromEntries(Object.entries(spec.tmpfs).map(([path, bytes]) => [path, `rw,noexec,nosuid,nodev,mode=1777,size=${bytes}`])),
      Devices: (spec.devices ?? []).map((path) => ({ PathOnHost: path, PathInContainer: path, CgroupPermissions: "rw" })),
      ...(spec.gpus === undefined ? {} : { DeviceRequests: [{ Driver: "nvidia", Count: spec.gpus === "all" ? -1 : spec.gpus, Capabilities: [["gpu"]] }] }),
      RestartPolicy: { Name: "no" },
      LogConfig: spec.keepLogs ? { Type: "json-file", Config: { "max-size": LOG_BYTES, "max-file": "1" } } : { Type: "none", Config: {} }
    }
  }
}
