for name, path in TARGETS["files"].items():
    attempt(f"read {name}", lambda: read(path))
for name, path in TARGETS["folders"].items():
    attempt(f"list {name}", lambda: len(os.listdir(path)))

worker = f"/proc/{TARGETS['worker']}"
parent = f"/proc/{os.getppid()}"


def memory(process):
    """Reads from the beginning of what a process has mapped."""
    with open(f"{process}/maps", encoding="ascii") as maps:
        first = int(maps.readline().split("-")[0], 16)
    with open(f"{process}/mem", "rb", buffering=0) as file:
        file.seek(first)
        return f"{len(file.read(16))} bytes"


def open_descriptors(process):
    """Opens what a process has open."""
    opened = 0
    for number in os.listdir(f"{process}/fd"):
        try:
            os.close(os.open(f"{process}/fd/{number}", os.O_RDONLY | os.O_NONBLOCK))
            opened += 1
        except OSError:
            pass
    if not opened:
        raise PermissionError(errno.EACCES, "none can be opened")
    return f"{opened} opened"


for name, process in (("the worker", worker), ("the supervisor", parent), ("another job", f"/proc/{TARGETS['other']}")):
    attempt(f"environment of {name}", lambda: read(f"{process}/environ"))
    attempt(f"memory of {name}", lambda: memory(process))
    attempt(f"map of {name}", lambda: read(f"{process}/maps"))
    attempt(f"descriptors of {name}", lambda: open_descriptors(process))
    attempt(f"root of {name}", lambda: len(os.listdir(f"{process}/root/root")))
    attempt(f"folder of {name}", lambda: len(os.listdir(f"{process}/cwd/")))


def search_environments():
    """Looks through every environment there is for a token."""
    found = 0
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/environ", "rb") as file:
                found += any(secret.encode() in file.read() for secret in TARGETS["secrets"])
        except OSError:
            pass
    if not found:
        raise Refused("nothing found")
    return f"{found} environments with a secret"


def search_arguments():
    """Looks through every command line there is for a secret."""
    found = 0
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                found += any(secret.encode() in file.read() for secret in TARGETS["secrets"])
        except OSError:
            pass
    if not found:
        raise Refused("nothing found")
    return f"{found} command lines with a secret"


attempt("environment of process 1", lambda: read("/proc/1/environ"))
attempt("search all environments", search_environments)
attempt("search all command lines", search_arguments)


def climb():
    """Goes up from the work directory as far as it can be listed."""
    folder, seen = os.getcwd(), 0
    while folder != "/":
        folder = os.path.dirname(folder)
        seen += len(os.listdir(folder))
    return f"{seen} names"


attempt("list what is above the work directory", climb)


def inherited():
    """Looks for descriptors that were left open, other than the three streams and the log's end of them."""
    left = []
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if number > 2 and not target.startswith(f"/proc/{os.getpid()}"):
            left.append(target)
    if not left:
        raise Refused("nothing found")
    return left


attempt("use an inherited descriptor", inherited)
attempt("own environment", lambda: read("/proc/self/environ"))
attempt("own work directory", lambda: len(os.listdir(".")) > 0)
complete()
