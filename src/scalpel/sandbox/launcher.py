"""Runs in a process of its own: puts it into new namespaces, with a root that holds nothing but the interpreter and an
empty scratch folder, then runs the program as the first process there. Standard library only, since it runs isolated.

    argv[1]   JSON: program, python, readable (folders), memory, seconds, processes, file_bytes, report
    status    that of the program
    report    a file descriptor that gets READY when the walls stand, or the reason why not; the program never has it

Order matters: the walls are built with the capabilities that a new user namespace gives; an exec as a user without any
drops these; the filter of system calls comes last, since it forbids what the launcher itself needs.

Sources: namespaces(7), user_namespaces(7), pivot_root(2), seccomp(2), capabilities(7)
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import struct
import sys

NOBODY = 65534
READY = b"ready"
NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH, PDEATHSIG, NO_NEW_PRIVS, SET_SECCOMP, FILTER = 2, 1, 38, 22, 2
libc = ctypes.CDLL(None, use_errno=True)

# Calls that reach beyond the walls or build new ones: (x86_64, aarch64). They fail with EPERM.
FORBIDDEN = {
    "ptrace": (101, 117), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280), "perf_event_open": (298, 241),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kexec_load": (246, 104), "reboot": (169, 142),
    "init_module": (175, 105), "finit_module": (313, 273), "swapon": (167, 224), "quotactl": (179, 60),
    "open_by_handle_at": (304, 265), "mount_setattr": (442, 442), "move_mount": (429, 429), "open_tree": (428, 428),
    "fsopen": (430, 430), "fsmount": (432, 432), "socket": (41, 198), "memfd_create": (319, 279),
}  # fmt: skip
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def called(name, *arguments):
    """A call of the C library that must succeed."""
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(source, target, kind, flags, data=None):
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    if libc.mount(*encoded, ctypes.c_ulong(flags), None if data is None else data.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount of {source or target}: {os.strerror(number)}")


def enter_namespaces():
    """New namespaces of mounts, network, processes and so on. Who isn't root gets the capabilities for it from a
    new namespace of users."""
    kinds = NEWNS | NEWNET | NEWPID | NEWIPC | NEWUTS
    if os.getuid() == 0 and libc.unshare(kinds) == 0:
        return
    user, group = os.getuid(), os.getgid()
    called("unshare", NEWUSER | kinds)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def build_root(readable, file_bytes):
    """A root in memory: readable folders, an empty /tmp, a few devices; the old root is gone afterwards."""
    root = "/tmp"
    mount("none", "/", None, REC | PRIVATE)
    inside = [(path, os.path.islink(path) and os.readlink(path)) for path in readable]
    old = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    mount("tmpfs", root, "tmpfs", NOSUID | NODEV, "size=1m,mode=755")
    for path, link in inside:
        target = root + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if link:
            os.symlink(link, target)
            continue
        os.makedirs(target, exist_ok=True)
        os.fchdir(old)
        mount(path.lstrip("/"), target, None, BIND | REC)
        mount(None, target, None, BIND | REMOUNT | RDONLY | NOSUID | NODEV | times(target))
    for device in ("null", "zero", "urandom"):
        os.makedirs(f"{root}/dev", exist_ok=True)
        open(f"{root}/dev/{device}", "w").close()
        mount(f"dev/{device}", f"{root}/dev/{device}", None, BIND)
    os.makedirs(f"{root}/tmp")
    os.makedirs(f"{root}/proc")
    with contextlib.suppress(OSError):  # where a container hides parts of /proc, a user may not mount one
        mount("proc", f"{root}/proc", "proc", NOSUID | NODEV | NOEXEC)
    mount("tmpfs", f"{root}/tmp", "tmpfs", NOSUID | NODEV, f"size={file_bytes},mode=1777,nr_inodes=1000")
    os.chdir(root)
    if libc.syscall(ctypes.c_long({"x86_64": 155, "aarch64": 41}[os.uname().machine]), b".", b".") != 0:
        raise OSError(ctypes.get_errno(), "pivot_root")
    called("umount2", b".", DETACH)
    os.close(old)
    mount(None, "/", None, REMOUNT | BIND | RDONLY | NOSUID | NODEV)
    os.chdir("/tmp")


def times(path):
    """How a mount treats times of access, which a user may not change."""
    flags = os.statvfs(path).f_flag
    return flags & 1024 | flags & 2048 | (1 << 21 if flags & 4096 else 0)


def limit(wanted):
    """Limits of each process, and of their number."""
    size = wanted["memory"]
    seconds = int(wanted["seconds"]) + 1
    for what, most in (
        (resource.RLIMIT_AS, size), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_NPROC, wanted["processes"]),
        (resource.RLIMIT_FSIZE, wanted["file_bytes"]), (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(what, (most, most))


def filter_calls():
    """A filter in the kernel's own little language, by which FORBIDDEN calls fail, and so do those of another
    architecture's table (32 bits), which the numbers would not meet."""
    column, audit = MACHINES[os.uname().machine]
    numbers = [row[column] for row in FORBIDDEN.values()]
    load, equal, above, answer = 0x20, 0x15, 0x35, 0x06
    deny, allow, kill = 0x50000 | 1, 0x7FFF0000, 0x80000000
    code = [(load, 0, 0, 4), (equal, 1, 0, audit), (answer, 0, 0, kill), (load, 0, 0, 0)]
    if column == 0:
        code += [(above, 0, 1, 0x40000000), (answer, 0, 0, kill)]  # the x32 table
    code += [(equal, len(numbers) - k, 0, number) for k, number in enumerate(numbers)]
    code += [(answer, 0, 0, allow), (answer, 0, 0, deny)]
    packed = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(packed)))
    called("prctl", SET_SECCOMP, FILTER, ctypes.c_void_p(ctypes.addressof(program)), 0, 0)


def inside(wanted):
    """The first process of the new namespaces: the last walls, then the program."""
    called("prctl", PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    build_root(wanted["readable"], wanted["file_bytes"])
    drop_bounding_set()
    limit(wanted)
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)  # limits on processes don't bind root
    called("prctl", NO_NEW_PRIVS, 1, 0, 0, 0)
    drop_capabilities()
    filter_calls()
    os.write(wanted["report"], READY)
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    os.execve(wanted["python"], [wanted["python"], "-I", "-c", wanted["program"]], environment)


def drop_bounding_set():
    """No later exec gives a capability."""
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # numbers that the kernel lacks fail, and may


def drop_capabilities():
    """No capability is left, within a namespace of users either."""
    header = struct.pack("II", 0x20080522, 0)
    called("capset", header, struct.pack("IIIIII", 0, 0, 0, 0, 0, 0))


def main():
    wanted = json.loads(sys.argv[1])
    os.set_inheritable(wanted["report"], False)
    try:
        called("prctl", PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        enter_namespaces()
        child = os.fork()
        if child == 0:
            inside(wanted)
        _, status = os.waitpid(child, 0)
    except (OSError, KeyError) as error:
        os.write(wanted["report"], str(error).encode())
        os._exit(1)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


main()
