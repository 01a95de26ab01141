import shutil


def create(path):
    """Makes a file and removes it."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.unlink(path)
    return "made"


def opened(path, flags=os.O_WRONLY | os.O_APPEND):
    """Opens a file for writing, and writes nothing."""
    os.close(os.open(path, flags))
    return "opened"


def cut_by_openat2(path):
    """The same by the call whose flags no filter can see."""
    how = (ctypes.c_uint64 * 3)(os.O_RDONLY | os.O_TRUNC, 0, 0)
    os.close(system_call(437, -100, ctypes.create_string_buffer(path.encode()), how, 24))


def made(path):
    os.mkdir(path)
    return path


for folder in TARGETS["folders"]:
    attempt(f"create in {folder}", lambda: create(os.path.join(folder, "planted")))
    attempt(f"make a folder in {folder}", lambda: os.rmdir(made(os.path.join(folder, "planted-folder"))))


for path in TARGETS["files"]:
    attempt(f"append to {path}", lambda: opened(path))
for name, path in TARGETS["victims"].items():
    attempt(f"open {name}", lambda: opened(path))
    attempt(f"cut {name} when opening", lambda: opened(path, os.O_WRONLY | os.O_TRUNC))
    attempt(f"cut {name} when opening to read", lambda: opened(path, os.O_RDONLY | os.O_TRUNC))
    attempt(f"cut {name} by openat2", lambda: cut_by_openat2(path))
    attempt(f"truncate {name}", lambda: os.truncate(path, os.stat(path).st_size))
    attempt(f"remove {name}", lambda: os.unlink(path))
    attempt(f"replace {name}", lambda: os.replace(shutil.copy(__file__, "mine"), path))
    attempt(f"take {name}", lambda: os.replace(path, "theirs"))
    attempt(f"link {name}", lambda: os.link(path, "a-link"))
    attempt(f"mode of {name}", lambda: os.chmod(path, os.stat(path).st_mode & 0o7777))
    attempt(f"times of {name}", lambda: os.utime(path, ns=(os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns)))
    attempt(f"read {name} by a link", lambda: os.symlink(path, "link") or read("link"))
    os.path.lexists("link") and os.unlink("link")
run = os.path.dirname(OUTPUT)
attempt("make a file beside its folders", lambda: create(os.path.join(run, "planted")))
attempt("move its output away", lambda: os.rename(OUTPUT, OUTPUT + "-away"))
attempt("put a link in the place of its output", lambda: os.rmdir(OUTPUT) or os.symlink("/etc", OUTPUT))


attempt("overwrite its interpreter", lambda: opened(os.path.realpath(sys.executable)))
attempt("create beside its interpreter", lambda: create(os.path.join(os.path.dirname(os.path.realpath(sys.executable)), "planted")))
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper",
             "/sys/power/state", "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/cgroup.procs", "/proc/1/oom_score_adj"):
    attempt(f"open {path}", lambda: opened(path, os.O_WRONLY))

for folder in (".", OUTPUT, os.environ["TMPDIR"], os.environ["HOME"], "/dev/shm"):
    name = {".": "work", OUTPUT: "output", os.environ["TMPDIR"]: "temporary", os.environ["HOME"]: "home"}.get(folder, folder)
    attempt(f"own {name}", lambda: create(os.path.join(folder, f"own-{os.getpid()}")))
attempt("own truncate", lambda: open("own", "wb").write(b"1234") and os.truncate("own", 2) or os.stat("own").st_size)
attempt("own ftruncate", lambda: open("own", "r+b").truncate(3))
attempt("own rename between folders", lambda: os.mkdir("below") or os.rename("own", "below/own"))
attempt("own links", lambda: os.link("below/own", "twin") or os.symlink("twin", "alias") or os.mkfifo("fifo"))
attempt("own mode", lambda: os.chmod("below/own", 0o700))
complete()
