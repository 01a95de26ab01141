"""What every attack begins with: where it is, what it is to try, and how an attempt is told."""

import ctypes
import errno
import json
import os
import platform
import sys

ARGUMENTS = dict(zip(sys.argv[1::2], sys.argv[2::2]))
OUTPUT = ARGUMENTS["--output"]
with open(ARGUMENTS["--config"], encoding="utf-8") as config:
    TARGETS = json.load(config)

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
X86 = platform.machine() == "x86_64"


class Refused(Exception):
    """A denial that is no errno."""


def attempt(name, act):
    """Tries something and prints how it went, as one line."""
    try:
        result = act()
    except Refused as refusal:
        verdict = f"denied {refusal}"
    except OSError as error:
        verdict = f"denied {errno.errorcode.get(error.errno, error)}"
    except Exception as error:
        verdict = f"raised {type(error).__name__}: {error}"
    else:
        verdict = f"DONE {result}"
    print(f"{name}: {verdict}"[:300].replace("\n", " "), flush=True)


def checked(result):
    """The result of a call of the C library, or its error."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def system_call(number, *arguments):
    """Makes a system call by its number."""
    given = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    given += [ctypes.c_long(0)] * (6 - len(given))
    return checked(LIBC.syscall(ctypes.c_long(number), *given))


def read(path, size=64):
    """The first bytes of a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return f"{len(os.read(descriptor, size))} bytes"
    finally:
        os.close(descriptor)


def in_child(act):
    """Runs something in a child, and gives its exit code, or the error or signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = act() or 0
        except OSError as error:
            code = 100 + error.errno
        except ValueError:
            # What Python makes of a limit that may not be raised.
            code = 100 + errno.EPERM
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        raise Refused(f"signal {-code}")
    if code >= 100:
        raise OSError(code - 100, os.strerror(code - 100))
    return code


def complete(**metrics):
    """Leaves valid results."""
    with open(os.path.join(OUTPUT, "metrics.json"), "w", encoding="utf-8") as file:
        json.dump({"params": {}, "metrics": metrics or {"done": 1}}, file)
