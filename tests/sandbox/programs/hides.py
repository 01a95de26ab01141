"""Leaves processes that are hard to see, each in its own way, then ends or waits as it is told."""
import resource
import signal
import time

TOKEN = TARGETS["token"]
PR_SET_NAME, SYS_EXIT, CLONE_PARENT = 15, (60 if X86 else 93), 0x8000
SLEEP = "import time\nwhile True: time.sleep(1)"


def become(code, program=sys.executable):
    """Becomes a program of a session of its own, with nothing of the job's but this token on its command line."""
    os.setsid()
    os.execve(program, ["python3", "-c", code, TOKEN], {})


def named(name):
    become(f"import ctypes\nctypes.CDLL(None).prctl({PR_SET_NAME}, {name!r}, 0, 0, 0)\n{SLEEP}")


def first_thread_ended():
    """A process whose first thread has ended before the others."""
    become("import ctypes, threading, time\nthreading.Thread(target=lambda: [time.sleep(1) for _ in range(600)]).start()\n"
           f"ctypes.CDLL(None).syscall({SYS_EXIT}, 0)")


def threads_with_names():
    become("import ctypes, threading, time\ndef run():\n"
           f" ctypes.CDLL(None).prctl({PR_SET_NAME}, b'\\xff) Z 1', 0, 0, 0)\n"
           " while True: time.sleep(1)\nfor _ in range(3): threading.Thread(target=run).start()\nrun()")


def stopped():
    become("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)")


def not_to_be_read():
    """A program that may be executed and not read: nobody may look into its process."""
    import shutil

    shutil.copy("/bin/sleep", "sleep-unreadable")
    os.chmod("sleep-unreadable", 0o111)
    os.setsid()
    os.execve("./sleep-unreadable", [TOKEN, "600"], {})


def in_memory():
    """A program without a file."""
    with open("/bin/sleep", "rb") as program:
        content = program.read()
    descriptor = os.memfd_create("\udcff\udcfe")
    os.write(descriptor, content)
    os.setsid()
    os.execve(descriptor, [TOKEN, "600"], {})


def in_an_odd_folder():
    os.makedirs(b"\xff\n) Z", exist_ok=True)
    os.chdir(b"\xff\n) Z")
    os.setsid()
    os.execve(sys.executable.encode(), [b"\xff\xfe", b"-c", SLEEP.encode(), TOKEN.encode() + b"\xff"], {b"\xff": b"\xff"})


def sibling():
    """A child of the job's own parent."""
    if system_call(56 if X86 else 220, CLONE_PARENT | signal.SIGCHLD) == 0:
        become(SLEEP)


def hopping():
    """Forks and ends, again and again: its number is never the same for long."""
    become("import os\nwhile True:\n if os.fork(): os._exit(0)\n os.setsid()")


def deaf():
    become("import signal, time\nfor n in set(signal.valid_signals()) - {9, 19, 32, 33}: "
           f"signal.signal(n, signal.SIG_IGN)\n{SLEEP}")


WAYS = {
    "no text": lambda: named(b"\xff\xfehidden"),
    "dead by name": lambda: named(b") Z 1 1 1"),
    "brackets": lambda: named(b"((((a) S 1)))"),
    "lines": lambda: named(b"a\nPid:\t1\nb"),
    "no name": lambda: named(b""),
    "spaces": lambda: named(b" 1 2 3 "),
    "first thread ended": first_thread_ended,
    "threads with names": threads_with_names,
    "stopped": stopped,
    "not to be read": not_to_be_read,
    "in memory": in_memory,
    "in an odd folder": in_an_odd_folder,
    "sibling": sibling,
    "hopping": hopping,
    "hopping too": hopping,
    "deaf": deaf,
}

# The mark of the run: what may not be set, not even lower.
LOCKS, LOWER = 10, (7, 7)
attempt("bear a mark", lambda: resource.prlimit(0, LOCKS)[0] != resource.RLIM_INFINITY)
attempt("take the mark off", lambda: in_child(lambda: resource.setrlimit(LOCKS, LOWER)))
attempt("take the mark off by number", lambda: in_child(lambda: resource.prlimit(os.getpid(), LOCKS, LOWER) and None))
attempt("take the mark off by the old call", lambda: in_child(
    lambda: system_call(160 if X86 else 164, LOCKS, ctypes.addressof(ctypes.create_string_buffer(16)))))

for way, hide in WAYS.items():
    if os.fork() == 0:
        # Its parent is gone before it does anything.
        if os.fork() == 0:
            for descriptor in range(3):
                os.dup2(os.open("/dev/null", os.O_RDWR), descriptor)
            try:
                hide()
            finally:
                os._exit(0)
        os._exit(0)
    os.wait()
time.sleep(1)
print("begun", flush=True)
if TARGETS["then"] == "wait":
    while True:
        time.sleep(1)
complete()
