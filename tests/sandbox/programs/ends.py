import shutil
import signal
import subprocess
import time

TOKEN = TARGETS["token"]


def become(code):
    """Becomes a program that has nothing of the job's but this token on its command line."""
    os.execve(sys.executable, ["python", "-c", code, TOKEN], {})


def survivor():
    """Starts what is nobody's child, in a session of its own, without an environment, deaf to signals."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir("/")
            for descriptor in range(3):
                os.close(descriptor)
            become("import signal, time\nfor n in set(signal.valid_signals()) - {9, 19, 32, 33}: "
                   "signal.signal(n, signal.SIG_IGN)\nwhile True: time.sleep(1)")
        os._exit(0)
    os.wait()


def survive():
    for _ in range(5):
        survivor()
    time.sleep(0.3)
    complete()


def deaf():
    """Ignores every signal that can be."""
    survivor()
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
        signal.signal(number, signal.SIG_IGN)
    print("begun", flush=True)
    while True:
        time.sleep(1)


def stopped():
    """Stops itself, and all that it started."""
    survivor()
    if os.fork() == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
    print("begun", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)


def signalled():
    """Ends by a signal of its own."""
    number = TARGETS["signal"]
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        # Some have no handler of Python's to be taken away.
        LIBC.signal(number, 0)
    print("begun", flush=True)
    os.kill(os.getpid(), number)
    time.sleep(30)


def silent():
    """Closes its streams and runs on."""
    print("last words", flush=True)
    for descriptor in range(3):
        os.close(descriptor)
    time.sleep(0.3)
    complete(ran_on=1)


def changed_later():
    """Leaves a grandchild that waits for the end and then writes other results."""
    ended, alive = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.close(alive)
            os.read(ended, 1)
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                time.sleep(0.01)
            while True:
                complete(value=2)
        os._exit(0)
    os.close(ended)
    os.wait()
    complete(value=1)


def closed_output():
    """Leaves an output folder that nobody may enter."""
    complete()
    os.mkdir(os.path.join(OUTPUT, "below"))
    for folder in (os.path.join(OUTPUT, "below"), OUTPUT, os.environ["HOME"], "."):
        os.chmod(folder, 0)


def links():
    """Leaves links to what it could not read itself."""
    for name, path in TARGETS["links"].items():
        os.symlink(path, os.path.join(OUTPUT, name))
    os.symlink("/etc", os.path.join(OUTPUT, "folder"))
    os.symlink(OUTPUT, os.path.join(OUTPUT, "loop"))
    os.mkfifo(os.path.join(OUTPUT, "fifo"))
    complete()


def odd_names():
    """Leaves names that are hard to print, and a tree that is deep."""
    for name in (b"new\nline", b"\xff\xfe", b"n" * 255, b"-rf", b"$(touch x)", b"<script>", b"\x1b[2J", b"..."):
        with open(os.path.join(os.fsencode(OUTPUT), name), "wb") as file:
            file.write(b"x")
    os.chdir(OUTPUT)
    for _ in range(TARGETS["depth"]):
        os.mkdir("d")
        os.chdir("d")
    complete()


def no_metrics():
    os.mknod(os.path.join(OUTPUT, "metrics.json"), 0o020666, 1 << 8 | 5)


def planted():
    """Leaves something else in the place of its results."""
    import socket

    path, kind = os.path.join(OUTPUT, "metrics.json"), TARGETS["kind"]
    complete()
    valid = shutil.move(path, path + ".valid")
    if kind == "symlink":
        os.symlink(os.path.abspath(valid), path)
    elif kind == "symlink to a file of the system":
        os.symlink("/etc/passwd", path)
    elif kind == "symlink to itself":
        os.symlink("metrics.json", path)
    elif kind == "symlink to a device":
        os.symlink("/dev/zero", path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        os.chdir(OUTPUT)
        socket.socket(socket.AF_UNIX).bind("metrics.json")
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "hard link":
        os.link(valid, path)
    elif kind == "sparse file":
        with open(path, "wb") as file:
            file.truncate(1 << 30)
    elif kind == "huge number":
        with open(path, "w", encoding="ascii") as file:
            file.write('{"params": {}, "metrics": {"value": 1e999}}')
    elif kind == "deep nesting":
        with open(path, "w", encoding="ascii") as file:
            file.write('{"params": ' + "[" * 50_000 + "]" * 50_000 + ', "metrics": {}}')
    elif kind == "closed":
        complete()
        os.chmod(path, 0)


{
    "survive": survive,
    "deaf": deaf,
    "stopped": stopped,
    "signalled": signalled,
    "silent": silent,
    "changed later": changed_later,
    "closed output": closed_output,
    "links": links,
    "odd names": odd_names,
    "device": no_metrics,
    "planted": planted,
}[TARGETS["way"]]()
