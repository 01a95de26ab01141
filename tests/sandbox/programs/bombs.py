import multiprocessing
import resource
import threading
import time

MIB = 1 << 20
BLOCK = bytes(range(256)) * (MIB // 256)


def fork_bomb():
    """Forks without end, as a shell's famous line does."""
    while True:
        try:
            os.fork()
        except OSError:
            pass


def forks():
    """Forks until that is denied."""
    count = 0
    try:
        while count < 100_000:
            if os.fork() == 0:
                time.sleep(300)
                os._exit(0)
            count += 1
    except OSError as error:
        print(f"forks: denied {errno.errorcode[error.errno]} after {count}")
    complete(count=count)


def threads():
    """Starts threads until that is denied."""
    threading.stack_size(64 * 1024)
    count = 0
    try:
        while count < 100_000:
            threading.Thread(target=time.sleep, args=(300,), daemon=True).start()
            count += 1
    except RuntimeError as error:
        print(f"threads: denied {error} after {count}")
    complete(count=count)
    os._exit(0)


def descriptors():
    """Opens files until that is denied, in several processes."""

    def fill():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        opened = []
        try:
            while len(opened) < 2_000_000:
                opened.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            print(f"descriptors: denied {errno.errorcode[error.errno]} after {len(opened)}", flush=True)
        return 0 if opened else 1

    complete(failed=sum(in_child(fill) for _ in range(4)))


def memory():
    """Fills memory."""
    kept = []
    while len(kept) < 2048:
        kept.append(BLOCK * 1 + b"x")
    complete(mib=len(kept))


def memory_of_many():
    """Fills memory with many processes, none of which has much."""
    children = [multiprocessing.Process(target=hold, args=(24,)) for _ in range(24)]
    for child in children:
        child.start()
    time.sleep(60)
    complete()


def hold(mib):
    kept = [BLOCK + b"x" for _ in range(mib)]
    time.sleep(60)
    return kept


def shared_memory():
    """Fills /dev/shm."""
    for number in range(1024):
        with open(f"/dev/shm/{TARGETS['token']}-{number}", "wb", buffering=0) as file:
            file.write(BLOCK)
    time.sleep(60)
    complete()


def unnamed_memory():
    """Fills files in memory that have no name and are not mapped."""
    descriptor = os.memfd_create("attack")
    for _ in range(1024):
        os.write(descriptor, BLOCK)
    time.sleep(60)
    complete()


def one_file():
    """Fills the disk by one file."""
    written = 0
    with open(os.path.join(OUTPUT, "large"), "wb", buffering=0) as file:
        try:
            for _ in range(1024):
                written += file.write(BLOCK)
        except OSError as error:
            print(f"one file: denied {errno.errorcode[error.errno]} after {written}", flush=True)
    complete(written=written)


def file_too_large(how):
    """Writes one file beyond the limit, and ends of it."""
    import subprocess

    path = os.path.join(OUTPUT, "large")
    if how == "exception":
        with open(path, "wb") as file:
            for _ in range(64):
                file.write(BLOCK)
    elif how == "short write":
        with open(path, "wb", buffering=0) as file:
            written = file.write(BLOCK * 64)
        raise ValueError(f"{64 * MIB} requested and {written} written")
    elif how == "no metrics":
        with open(path, "wb", buffering=0) as file:
            file.write(BLOCK * 64)
        sys.exit(0)
    elif how == "child":
        subprocess.run(["/bin/sh", "-c", "exec head -c 64M /dev/zero > " + path], check=True)
    elif how == "signal":
        os.execv("/bin/sh", ["sh", "-c", "trap - XFSZ; exec head -c 64M /dev/zero > " + path])
    elif how == "extent":
        with open(path, "wb") as file:
            file.truncate(64 * MIB)
    elif how == "tidied up":
        with open(os.path.join(OUTPUT, "innocent"), "wb") as file:
            file.write(BLOCK)
        try:
            with open(path, "wb", buffering=0) as file:
                while True:
                    file.write(BLOCK)
        except OSError:
            os.remove(path)
            raise RuntimeError("the model could not be saved")
    elif how == "a limit of its own":
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))
        with open(path, "wb", buffering=0) as file:
            while True:
                file.write(BLOCK)
    elif how == "in shared memory":
        with open(f"/dev/shm/large-{os.getpid()}", "wb", buffering=0) as file:
            while True:
                file.write(BLOCK)


def large_files(folder):
    """Fills the disk by files none of which is too large."""
    number = 0
    while number < 1024:
        with open(os.path.join(folder, f"large-{number}"), "wb", buffering=0) as file:
            file.write(BLOCK)
        number += 1
        time.sleep(0.005)
    time.sleep(60)
    complete()


def small_files():
    """Fills the disk by a million files, most of them further names of others: a disk may be slow to give new ones."""
    for number in range(1_000_000):
        if number % 1_000 == 0:
            folder = os.path.join(OUTPUT, f"folder-{number}")
            os.mkdir(folder)
            first = f"{folder}/{number}"
            os.close(os.open(first, os.O_CREAT | os.O_WRONLY))
        else:
            os.link(first, f"{folder}/{number}")
    time.sleep(60)
    complete()


def folder_in_shared_memory():
    """Fills /dev/shm below a folder."""
    folder = f"/dev/shm/{TARGETS['token']}"
    os.mkdir(folder)
    for number in range(1024):
        with open(f"{folder}/{number}", "wb", buffering=0) as file:
            file.write(BLOCK)
    time.sleep(60)
    complete()


def removed_files():
    """Fills the disk by files that have no name any more."""
    kept = []
    for number in range(100):
        path = os.path.join(OUTPUT, f"removed-{number}")
        file = open(path, "wb", buffering=0)
        os.unlink(path)
        for _ in range(8):
            file.write(BLOCK)
        kept.append(file)
        time.sleep(0.01)
    time.sleep(60)
    complete()


def closed_folder():
    """Fills the disk behind a folder that can be listed and not entered."""
    os.mkdir("closed")
    os.chmod("closed", 0o400)
    large_files(OUTPUT)


def deep_folders():
    """Nests folders deeper than whoever removes them may have stack or descriptors for."""
    for chain in range(100):
        os.makedirs(f"chain-{chain}/" + "/".join("d" * 180))
    for chain in range(99, 0, -1):
        os.rename(f"chain-{chain}", f"chain-{chain - 1}/" + "/".join("d" * 180) + "/next")
    complete()


{
    "folder in shared memory": folder_in_shared_memory,
    "removed files": removed_files,
    "closed folder": closed_folder,
    "deep folders": deep_folders,
    "fork bomb": fork_bomb,
    "forks": forks,
    "threads": threads,
    "descriptors": descriptors,
    "memory": memory,
    "memory of many": memory_of_many,
    "shared memory": shared_memory,
    "unnamed memory": unnamed_memory,
    "one file": one_file,
    **{f"file too large: {how}": lambda how=how: file_too_large(how) for how in TARGETS.get("ways", [])},
    "large files in the output": lambda: large_files(OUTPUT),
    "large files in the temporary folder": lambda: large_files(os.environ["TMPDIR"]),
    "large files in the work directory": lambda: large_files("."),
    "small files": small_files,
}[TARGETS["bomb"]]()
