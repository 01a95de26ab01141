"""Shares memory among its own processes, or takes what others share."""
import multiprocessing
import time
from multiprocessing import shared_memory

TOKEN, WAY = TARGETS["token"], TARGETS["way"]


def path(name):
    return "/dev/shm/" + TOKEN + name


def victim():
    """Has something in shared memory, by its own means and open to all that may come to it, until it is told to end."""
    if TARGETS["umask"] is not None:
        os.umask(TARGETS["umask"])
    batches = shared_memory.SharedMemory(create=True, size=4096, name=TOKEN + "batches")
    batches.buf[:6] = b"secret"
    lock = multiprocessing.get_context("fork").Lock()
    with open(path("file"), "w", encoding="ascii") as file:
        file.write("a secret")
    os.makedirs(path("folder"))
    print("begun", flush=True)
    while not os.path.exists(TARGETS["gate"]):
        time.sleep(0.02)
    with lock:
        complete(untouched=int(bytes(batches.buf[:6]) == b"secret" and os.path.exists(path("file"))))
    # What it leaves is for the platform to remove.
    os._exit(0)


def thief():
    def overwrite():
        with open(path("batches"), "r+b") as file:
            return file.write(b"POISON")

    attempt("read shared memory", lambda: read(path("batches")))
    attempt("overwrite shared memory", overwrite)
    attempt("read a file", lambda: read(path("file")))
    attempt("remove a file", lambda: os.unlink(path("file")))
    attempt("replace a file", lambda: os.rename(path("file"), path("other")))
    attempt("open a folder", lambda: os.listdir(path("folder")))
    attempt("System V shared memory", lambda: system_call(29 if X86 else 194, 0x4C42, 4096, 0o1666))
    attempt("message queue", lambda: checked(LIBC.mq_open(b"/leadersboard", os.O_RDWR | os.O_CREAT, 0o666, None)))
    complete()


def claims():
    """Binds each name by which workers once knew the users that are taken."""
    import resource
    import socket

    resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
    held = []
    for number in range(61184, 65520):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0leadersboard-user-{number}")
        except OSError:
            continue
        held.append(claim)
    print("begun", flush=True)
    for place in TARGETS["locks"]:
        attempt(f"list {place}", lambda: os.listdir(place))
        attempt(f"lock in {place}", lambda: os.open(os.path.join(place, "61184"), os.O_RDWR | os.O_CREAT))
    while not os.path.exists(TARGETS["gate"]):
        time.sleep(0.02)
    complete(held=len(held))


def shared():
    """Has much memory, which several processes share."""
    held = bytearray(os.urandom(1 << 20) * TARGETS["mib"])
    for _ in range(4):
        if os.fork() == 0:
            sum(held[:: 4096])
            time.sleep(300)
            os._exit(0)
    print("begun", flush=True)
    while not os.path.exists(TARGETS["gate"]):
        time.sleep(0.02)
    complete()


{"victim": victim, "thief": thief, "claims": claims, "shared": shared}[WAY]()
