"""Tells what an interpreter is and where it imports from, as fields that end with a zero byte.

The letter of a field: v version, e executable, f a folder of the interpreter's own, p a folder of `sys.path` outside of
those, w a file or folder outside of those that is needed as a whole, u a folder of packages that jobs do not get, c a walk
that was cut short, l a link outside of the interpreter's own folders, which is not followed. A job gets neither `PYTHON…` variables nor a user's own packages, so neither does this: `-I`.
"""
import json
import os
import sys
import time
from importlib.machinery import all_suffixes
from urllib.parse import unquote, urlparse

END = time.monotonic() + 8
MOST = 4000
told = {}


def tell(kind, path):
    if len(told) < MOST:
        told[kind, path] = None


def real(path):
    return os.path.realpath(path)


OWN = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
OWN |= {real(path) for path in OWN}


def is_own(path):
    return any(path == own or path.startswith(own.rstrip("/") + "/") for own in OWN)


def tell_foreign(kind, path):
    """Tells of a path, by the name that it goes by and by its real one."""
    if os.path.isabs(path) and os.path.exists(path):
        for name in {os.path.normpath(path), real(path)}:
            if not is_own(name):
                tell(kind, name)


def targets(link):
    """The paths that a link may go by: where it stands, where that really is, and its end."""
    text, folder = os.readlink(link), os.path.dirname(link)
    names = {os.path.join(folder, text), os.path.join(real(folder), text), real(link)}
    return {os.path.normpath(name) for name in names}


def names_in(folder):
    """The names in a folder; none where there is none, or where it is closed."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


wheels = {}


def is_wheel(folder):
    """Whether a folder is an unpacked distribution, as caches of installers hold them."""
    if folder not in wheels:
        wheels[folder] = any(name.endswith(".dist-info") for name in names_in(folder))
    return wheels[folder]


def tell_link(top, link):
    """Tells where a link leads; of a file in a package, the whole package."""
    if not os.path.exists(link):
        return
    names = [] if os.path.isdir(link) else os.path.relpath(link, top).split("/")
    for target in targets(link):
        parts, same = target.split("/"), 0
        while same < min(len(names), len(parts) - 1) and names[-1 - same] == parts[-1 - same]:
            same += 1
        above = "/".join(parts[: len(parts) - same]) or "/"
        if same and is_wheel(above):
            target = above
        elif same:
            target = os.path.join(above, parts[len(parts) - same])
        tell_foreign("w", target)


walked = set()


def walk(top):
    """Looks for links below one of the interpreter's own folders.

    Never elsewhere: a job may have planted links in whatever else lies in a project, and would choose what is shown.
    """
    folders = [top]
    while folders:
        folder = folders.pop()
        if time.monotonic() > END:
            tell("c", top)
            return
        if real(folder) in walked:
            continue
        walked.add(real(folder))
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            if entry.is_symlink():
                tell_link(top, entry.path)
            elif entry.is_dir() and entry.name != "__pycache__" and not entry.name.startswith("."):
                folders.append(entry.path)


def survey(top):
    """Notes the links below a folder that is not the interpreter's own: they are told of, never followed."""
    folders = [top]
    while folders:
        folder = folders.pop()
        if time.monotonic() > END:
            tell("c", top)
            return
        if folder in walked:
            continue
        walked.add(folder)
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__pycache__":
                continue
            if entry.is_symlink():
                if os.path.exists(entry.path) and not is_own(real(entry.path)):
                    tell("l", entry.path)
            elif entry.is_dir():
                folders.append(entry.path)


def editable_project(folder, name):
    """The project that a distribution was installed from to be edited, if it was."""
    try:
        with open(os.path.join(folder, name, "direct_url.json"), encoding="utf-8") as file:
            origin = json.load(file)
        if origin["dir_info"]["editable"] and origin["url"].startswith("file://"):
            return unquote(urlparse(origin["url"]).path)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def look():
    tell("v", ".".join(map(str, sys.version_info[:3])))
    tell("e", sys.executable or "")
    for folder in sorted(OWN):
        tell("f", folder)
    link = sys.executable
    for _ in range(40):
        if not link or not os.path.islink(link):
            break
        tell_foreign("w", link)
        link = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))
    if link:
        tell_foreign("w", link)
    path = [entry for entry in sys.path if os.path.isabs(entry) and os.path.exists(entry)]
    for entry in path:
        if not is_own(entry):
            tell_foreign("p" if os.path.isdir(entry) else "w", entry)
    for name, module in list(sys.modules.items()):
        if name.startswith("__editable__"):
            mapping = getattr(module, "MAPPING", None) or {}
            spaces = getattr(module, "NAMESPACES", None) or {}
            for target in [*mapping.values(), *(one for several in spaces.values() for one in several)]:
                for candidate in [target, *(target + suffix for suffix in all_suffixes())]:
                    tell_foreign("w", candidate)
                if os.path.isdir(target):
                    path.append(target)
    for entry in path:
        for name in names_in(entry):
            project = editable_project(entry, name) if name.endswith(".dist-info") else None
            if project and not any(kind in "pw" and (real(one) + "/").startswith(real(project) + "/") for kind, one in told):
                tell_foreign("p", project)
                path.append(project)
    if sys.prefix == sys.base_prefix:
        import site

        packages = site.getusersitepackages()
        if names_in(packages):
            tell("u", packages)
    for entry in path:
        if is_own(real(entry)) and os.path.isdir(entry):
            walk(entry)
    for kind, one in list(told):
        if kind in "pw" and os.path.isdir(one) and not is_own(real(one)):
            survey(real(one))
    if len(told) >= MOST:
        told.popitem()
        told["c", sys.prefix] = None


try:
    look()
except Exception as error:
    # An interpreter that works is not given up for what was not understood of its packages.
    print("what it imports is not known:", repr(error), file=sys.stderr)
    tell("c", sys.prefix)
sys.stdout.flush()
fields = b"".join(kind.encode() + os.fsencode(path) + b"\0" for kind, path in told)
sys.stdout.buffer.write(b"\0\0" + fields)
