import time

CHUNK = (b"x" * 99 + b"\n") * 10_000


def flood():
    """Prints as fast as it can."""
    for _ in range(TARGETS["mib"]):
        os.write(1, CHUNK)
    complete()


def line():
    """Prints one line that does not end, and fails."""
    for _ in range(TARGETS["mib"]):
        os.write(1, b"y" * 1_000_000)
        os.write(2, b"z" * 1_000_000)
    sys.exit(1)


def bytes_of_all_kinds():
    """Prints what is no text, cut wherever it hurts."""
    for part in (b"nul\0nul\n", b"\xff\xfe invalid\n", b"cut \xf0\x9f", b"\x98\x80 here\n", b"\x1b[31mred\x1b[0m\n",
                 "\ud800".encode("utf-8", "surrogatepass") + b" surrogate\n", b"\r\rprogress\r", bytes(range(256)),
                 b"\nthe end\n"):
        written = os.write(1, part)
        assert written == len(part)
        time.sleep(0.05)
    complete()


{"flood": flood, "line": line, "bytes": bytes_of_all_kinds}[TARGETS["log"]]()
