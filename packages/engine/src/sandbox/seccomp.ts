/**
 * The system-call filter of the sandbox: classic BPF, as seccomp(2) and `bwrap --seccomp` take it. Refused with EPERM: new namespaces,
 * mounts, looking into other processes, kernel modules and keys, and the interfaces that kernel exploits come through most
 * (bpf, io_uring, userfaultfd, perf). All else is allowed: what a training program may touch is decided by the mounts.
 *
 * Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux 6.
 */
interface Calls {
  /** AUDIT_ARCH_* of linux/audit.h */
  readonly architecture: number
  readonly refused: ReadonlyArray<number>
  readonly clone: number
}

/** Same number everywhere: io_uring 425-427, open_tree .. fspick 428-433, mount_setattr 442 */
const EVERYWHERE = [425, 426, 427, 428, 429, 430, 431, 432, 433, 442]
const CLONE3 = 435

const architectures: Readonly<Record<string, Calls>> = {
  x64: {
    architecture: 0xc000003e,
    // ptrace syslog pivot_root chroot acct settimeofday mount umount2 swapon swapoff reboot iopl ioperm init_module delete_module quotactl
    // clock_settime kexec_load add_key request_key keyctl unshare perf_event_open name_to_handle_at open_by_handle_at setns
    // process_vm_readv process_vm_writev kcmp finit_module kexec_file_load bpf userfaultfd
    refused: [101, 103, 155, 161, 163, 164, 165, 166, 167, 168, 169, 172, 173, 175, 176, 179, 227, 246, 248, 249, 250, 272, 298, 303, 304, 308, 310, 311, 312, 313, 320, 321, 323],
    clone: 56
  },
  arm64: {
    architecture: 0xc00000b7,
    // the same calls, without iopl and ioperm
    refused: [117, 116, 41, 51, 89, 170, 40, 39, 224, 225, 142, 105, 106, 60, 112, 104, 217, 218, 219, 97, 241, 264, 265, 268, 270, 271, 272, 273, 294, 280, 282],
    clone: 220
  }
}

/** CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET */
const NEW_NAMESPACE = 0x7e020000

const ALLOW = 0x7fff0000
const KILL = 0x80000000
const EPERM = 0x00050001
const ENOSYS = 0x00050026

const LOAD = 0x20
const EQUAL = 0x15
const AT_LEAST = 0x35
const ANY_BIT = 0x45
const RETURN = 0x06

/** Jumps count from the instruction after. */
const to = (from: number, target: number): number => target - from - 1

/** Undefined on an architecture whose numbers are not listed: then there is no filter. */
export const seccompProgram = (machine: string = process.arch): Buffer | undefined => {
  const calls = architectures[machine]
  if (calls === undefined) return undefined
  const refused = [...calls.refused, ...EVERYWHERE]
  // layout: head, one test a refused call, clone3, clone, then ALLOW / EPERM / ENOSYS
  const head: Array<readonly [number, number, number, number]> = [
    [LOAD, 0, 0, 4], // architecture
    [EQUAL, 1, 0, calls.architecture],
    [RETURN, 0, 0, KILL],
    [LOAD, 0, 0, 0] // number
  ]
  const x32 = machine === "x64" ? 1 : 0
  const tests = x32 + refused.length + 2
  const allow = head.length + tests + 2
  const program = [...head]
  // the 32-bit ABI of x86-64 has numbers of its own: refused whole
  if (x32 === 1) program.push([AT_LEAST, to(program.length, allow + 1), 0, 0x40000000])
  for (const call of refused) program.push([EQUAL, to(program.length, allow + 1), 0, call])
  // its flags lie behind a pointer that a filter cannot follow: libc falls back to clone
  program.push([EQUAL, to(program.length, allow + 2), 0, CLONE3])
  program.push([EQUAL, 0, to(program.length, allow), calls.clone])
  program.push([LOAD, 0, 0, 16]) // low half of the first argument
  program.push([ANY_BIT, to(program.length, allow + 1), 0, NEW_NAMESPACE])
  program.push([RETURN, 0, 0, ALLOW], [RETURN, 0, 0, EPERM], [RETURN, 0, 0, ENOSYS])
  const bytes = Buffer.alloc(program.length * 8)
  program.forEach(([code, yes, no, value], index) => {
    bytes.writeUInt16LE(code, index * 8)
    bytes.writeUInt8(yes, index * 8 + 2)
    bytes.writeUInt8(no, index * 8 + 3)
    bytes.writeUInt32LE(value, index * 8 + 4)
  })
  return bytes
}
