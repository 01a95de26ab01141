import fcntl
import mmap
import resource
import signal
import socket
import time

WORKER = TARGETS["worker"]
NUMBERS = {
    "x86_64": dict(
        mount=165, umount2=166, pivot_root=155, setns=308, bpf=321, perf_event_open=298, userfaultfd=323, add_key=248,
        request_key=249, keyctl=250, init_module=175, delete_module=176, finit_module=313, kexec_load=246,
        swapon=167, swapoff=168, acct=163, syslog=103, reboot=169, open_by_handle_at=304, name_to_handle_at=303,
        fanotify_init=300, quotactl=179, personality=135, process_vm_readv=310, process_vm_writev=311, kcmp=312,
        memfd_secret=447, clone=56, capset=126, vhangup=153, settimeofday=164, sethostname=170, setdomainname=171,
        ptrace=101, unshare=272, chroot=161, clock_settime=227, rt_tgsigqueueinfo=297,
    ),
    "aarch64": dict(
        mount=40, umount2=39, pivot_root=41, setns=268, bpf=280, perf_event_open=241, userfaultfd=282, add_key=217,
        request_key=218, keyctl=219, init_module=105, delete_module=106, finit_module=273, kexec_load=104,
        swapon=224, swapoff=225, acct=89, syslog=116, reboot=142, open_by_handle_at=265, name_to_handle_at=264,
        fanotify_init=262, quotactl=60, personality=92, process_vm_readv=270, process_vm_writev=271, kcmp=272,
        memfd_secret=447, clone=220, capset=91, vhangup=58, settimeofday=170, sethostname=161, setdomainname=162,
        ptrace=117, unshare=97, chroot=51, clock_settime=112, rt_tgsigqueueinfo=240,
    ),
}[platform.machine()]
# The same on every architecture.
NUMBERS.update(
    pidfd_send_signal=424, open_tree=428, move_mount=429, fsopen=430, fsconfig=431, fsmount=432, fspick=433,
    pidfd_open=434, clone3=435, pidfd_getfd=438, process_madvise=440, mount_setattr=442, quotactl_fd=443,
)
TEXT = ctypes.create_string_buffer
NAMESPACES = {"mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000,
              "pid": 0x20000000, "net": 0x40000000}


def call(name, *arguments):
    return system_call(NUMBERS[name], *arguments)


def wait_for_clone(pid):
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1]


# Other processes.
PTRACE_SEIZE, PTRACE_TRACEME = 0x4206, 0
attempt("ptrace the worker", lambda: call("ptrace", PTRACE_SEIZE, WORKER, 0, 0))
attempt("ptrace the supervisor", lambda: call("ptrace", PTRACE_SEIZE, os.getppid(), 0, 0))
attempt("be ptraced", lambda: in_child(lambda: call("ptrace", PTRACE_TRACEME, 0, 0, 0)))
attempt("signal the worker", lambda: os.kill(WORKER, 0))
attempt("signal the worker by pidfd", lambda: call("pidfd_send_signal", call("pidfd_open", WORKER, 0), 0, 0, 0))
attempt("signal process 1", lambda: os.kill(1, 0))
attempt("a descriptor of the worker", lambda: call("pidfd_getfd", call("pidfd_open", WORKER, 0), 0, 0))
attempt("a descriptor of its own by pidfd", lambda: call("pidfd_getfd", call("pidfd_open", os.getpid(), 0), 0, 0))
attempt("memory of the worker by process_vm_readv", lambda: call("process_vm_readv", WORKER, 0, 0, 0, 0, 0))
attempt("memory of the worker by process_vm_writev", lambda: call("process_vm_writev", WORKER, 0, 0, 0, 0, 0))
attempt("compare with the worker", lambda: call("kcmp", os.getpid(), WORKER, 0, 0, 0))
attempt("limit the worker", lambda: resource.prlimit(WORKER, resource.RLIMIT_CORE,
                                                    resource.prlimit(WORKER, resource.RLIMIT_CORE)))
attempt("limit the supervisor", lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE,
                                                        resource.prlimit(os.getppid(), resource.RLIMIT_CORE)))
attempt("move the worker to another cpu", lambda: os.sched_setaffinity(WORKER, os.sched_getaffinity(WORKER)))

# Namespaces and mounts.
for name, flag in NAMESPACES.items():
    attempt(f"unshare {name}", lambda: in_child(lambda: call("unshare", flag)))
    attempt(f"clone {name}", lambda: wait_for_clone(call("clone", flag | signal.SIGCHLD, 0, 0, 0, 0)))


def enter(process, name):
    descriptor = os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY)
    return call("setns", descriptor, 0)


attempt("setns to process 1", lambda: in_child(lambda: enter(1, "uts")))
attempt("setns to its own", lambda: in_child(lambda: enter("self", "uts")))
here = TEXT(os.getcwd().encode())
attempt("mount", lambda: call("mount", TEXT(b"none"), here, TEXT(b"no-such-fs"), 0, 0))
attempt("bind mount", lambda: call("mount", TEXT(b"/nowhere"), here, 0, 4096, 0))
attempt("umount", lambda: call("umount2", here, 2))
attempt("pivot_root", lambda: call("pivot_root", here, here))
attempt("fsopen", lambda: call("fsopen", TEXT(b"no-such-fs"), 0))
attempt("fsconfig", lambda: call("fsconfig", -1, 0, 0, 0, 0))
attempt("fsmount", lambda: call("fsmount", -1, 0, 0))
attempt("fspick", lambda: call("fspick", -100, TEXT(b"/nowhere"), 0))
attempt("open_tree", lambda: call("open_tree", -100, TEXT(b"."), 1))
attempt("move_mount", lambda: call("move_mount", -1, TEXT(b"x"), -1, TEXT(b"x"), 0))
attempt("mount_setattr", lambda: call("mount_setattr", -1, TEXT(b"x"), 0, TEXT(32), 32))
attempt("chroot", lambda: in_child(lambda: call("chroot", TEXT(b"."))))
attempt("open by handle", lambda: call("open_by_handle_at", -1, TEXT(64), 0))
attempt("name to handle", lambda: call("name_to_handle_at", -100, TEXT(b"."), TEXT(256), TEXT(8), 0))

# The kernel.
attempt("bpf", lambda: call("bpf", 0, TEXT(128), 128))
attempt("perf_event_open", lambda: call("perf_event_open", TEXT(b"\1\0\0\0\x40" + bytes(59), 128), 0, -1, -1, 0))
attempt("userfaultfd", lambda: call("userfaultfd", 1))
attempt("keyctl", lambda: call("keyctl", 0, -3, 0))
attempt("add_key", lambda: call("add_key", TEXT(b"user"), TEXT(b"lb"), TEXT(b"x"), 1, -1))
attempt("request_key", lambda: call("request_key", TEXT(b"user"), TEXT(b"lb"), 0, 0))
attempt("load a module", lambda: call("init_module", TEXT(b"x"), 1, TEXT(b"")))
attempt("load a module from a file", lambda: call("finit_module", -1, TEXT(b""), 0))
attempt("unload a module", lambda: call("delete_module", TEXT(b"no-such-module"), 0))
attempt("kexec", lambda: call("kexec_load", 0, 17, 0, 0))
attempt("reboot", lambda: call("reboot", 0, 0, 0, 0))
attempt("swapon", lambda: call("swapon", TEXT(b"/nowhere"), 0))
attempt("swapoff", lambda: call("swapoff", TEXT(b"/nowhere")))
attempt("accounting", lambda: call("acct", TEXT(b"/nowhere")))
attempt("the kernel's log", lambda: call("syslog", 3, TEXT(16), 16))
attempt("host name", lambda: call("sethostname", TEXT(socket.gethostname().encode()), len(socket.gethostname())))
attempt("domain name", lambda: call("setdomainname", TEXT(b"(none)"), 6))
attempt("set the clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME)))
attempt("set the time", lambda: call("settimeofday", 0, 0))
attempt("fanotify", lambda: call("fanotify_init", 0, 0))
attempt("quotas", lambda: call("quotactl", 0x80000700, 0, 0, TEXT(64)))
attempt("another personality", lambda: in_child(lambda: min(call("personality", 0x0040000), 1)))
attempt("advise another process", lambda: call("process_madvise", -1, 0, 0, 0, 0))
attempt("secret memory", lambda: call("memfd_secret", 0))
attempt("type into a terminal", lambda: fcntl.ioctl(0, 0x5412, b"x"))
attempt("paste into a terminal", lambda: fcntl.ioctl(0, 0x541C, b"x"))
attempt("clone3", lambda: wait_for_clone(call("clone3", TEXT(88), 88)))

if X86:
    attempt("ports", lambda: in_child(lambda: system_call(173, 0x80, 1, 1)))
    attempt("port level", lambda: in_child(lambda: system_call(172, 3)))
    attempt("segments", lambda: system_call(154, 0, TEXT(64), 64))
    attempt("kexec from a file", lambda: system_call(320, -1, -1, 0, 0, 0))
    attempt("x32: getpid", lambda: system_call(0x40000000 | 39))
    attempt("x32: ptrace", lambda: system_call(0x40000000 | 521, PTRACE_SEIZE, WORKER, 0, 0))

    def old_gate():
        """Calls the kernel by the gate of 32-bit programs, whose calls have other numbers: 20 is getpid there."""
        code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        if function() != os.getpid():
            os.kill(os.getpid(), signal.SIGSYS)
        return 0

    attempt("32-bit gate", lambda: in_child(old_gate))

# Privileges.
attempt("setuid", lambda: in_child(lambda: os.setuid(0)))
attempt("setgid", lambda: in_child(lambda: os.setgid(0)))
attempt("setgroups", lambda: in_child(lambda: os.setgroups([0])))
attempt("raise a limit", lambda: in_child(lambda: resource.setrlimit(
    resource.RLIMIT_NPROC, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))))
attempt("a higher priority", lambda: in_child(lambda: os.setpriority(os.PRIO_PROCESS, 0, -5)))
attempt("real time", lambda: in_child(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))))


def oom_score(value):
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(value)


attempt("spare itself when memory is short", lambda: in_child(lambda: oom_score("-1000")))
attempt("a lower score when memory is short", lambda: in_child(lambda: oom_score("0")))
for name, kind, number in (("memory", 0o020666, 1 << 8 | 1), ("the disk", 0o060666, 254 << 8)):
    attempt(f"make a device of {name}", lambda: os.mknod(os.path.join(OUTPUT, name.split()[-1]), kind, number))
for device in ("mem", "kmsg", "port", "kvm", "fuse", "net/tun", "vda", "sda", "loop-control", "ptmx", "mapper/control"):
    attempt(f"open /dev/{device}", lambda: read(f"/dev/{device}"))

status = dict(line.split(":\t", 1) for line in open("/proc/self/status", encoding="ascii") if ":\t" in line)
for name in ("NoNewPrivs", "Seccomp", "CapEff", "CapPrm", "CapInh", "Groups"):
    print(f"status {name}: DONE {status[name].strip()}", flush=True)
print(f"uid: DONE {os.getuid()}", flush=True)
complete()
