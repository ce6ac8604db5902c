"""Programs and libraries of others that tests take from npm, unpacked once into moescope's cache.

Nothing comes in unchecked: scripts/fetch-npm holds archives to their SHA-512 in scripts/packages-npm*.txt, and npm itself holds what
node-llama-cpp needs besides to tests/support/node-llama-cpp/package-lock.json. All releases share that, so that one lock file does.
"""

import fcntl
import glob
import json
import os
import platform
import shutil
import subprocess
import tempfile

SUPPORT = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(SUPPORT, "..", "..", "scripts")
LOCKED = os.path.join(SUPPORT, "node-llama-cpp")
CACHE = os.environ.get("MOESCOPE_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "moescope"
)
MACHINE = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}[platform.machine()]
DIFFERS = 3  # scripts/fetch-npm's exit code


class Unavailable(Exception):
    """What this machine lacks, or npm cannot fetch."""


class Refused(Exception):
    """A package that is not the one of that name which this version was tested with."""


def contents(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def checksums(packages):
    """The lines of the lists that are about them."""
    lists = [contents(path) for path in sorted(glob.glob(os.path.join(SCRIPTS, "packages-npm*.txt")))]
    return [line for line in "".join(lists).splitlines() if line.split(" ")[0] in packages]


def in_cache(name, key, fill):
    """The cache's folder of that name, as `fill(folder)` leaves it; filled again where it was for another key. One process at a
    time, and a folder that is not whole is never seen."""
    folder, marker = os.path.join(CACHE, name), os.path.join(CACHE, name, "complete")
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(os.path.join(CACHE, "npm-packages.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(marker) or contents(marker) != key:
            with tempfile.TemporaryDirectory(dir=CACHE, prefix="unpack.") as scratch:
                made = os.path.join(scratch, "made")
                os.mkdir(made)
                fill(made)
                with open(os.path.join(made, "complete"), "w", encoding="utf-8") as file:
                    file.write(key)
                shutil.rmtree(folder, ignore_errors=True)
                os.rename(made, folder)
    return folder


def fetched(package, folder):
    """The path of the package's archive in the folder."""
    done = subprocess.run([os.path.join(SCRIPTS, "fetch-npm"), package, folder], capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["npm failed"]
        raise (Refused if done.returncode == DIFFERS else Unavailable)(said[-1].removeprefix("fetch-npm: "))
    return done.stdout.strip()


def unpack(package, folder, *options, strip=1):
    """Unpacks a package into the folder, without its topmost `strip` folders; options and names are tar's."""
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(folder)) as scratch:
        archive = fetched(package, scratch)
        subprocess.run(["tar", "-xzf", archive, "-C", folder, f"--strip-components={strip}", *options], check=True)


def modules(*packages):
    """For in_cache: a folder whose node_modules has these packages, "NAME@VERSION", and nothing that they need."""

    def fill(folder):
        with open(os.path.join(folder, "package.json"), "w", encoding="utf-8") as file:
            file.write('{"private": true, "type": "module"}')
        for package in packages:
            unpack(package, os.path.join(folder, "node_modules", package.rpartition("@")[0]))

    return "\n".join(checksums(packages)), fill


def install_locked(folder):
    """What the lock file lists."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(LOCKED, name), folder)
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional", "--loglevel=error", "--fetch-retries=1"]
    try:
        subprocess.run(["npm", "ci", *flags], cwd=folder, check=True, capture_output=True, text=True, timeout=600)
    except subprocess.CalledProcessError as error:
        if "EINTEGRITY" in error.stderr:
            raise Refused("npm has other packages for node-llama-cpp than its lock file says") from error
        raise Unavailable("npm cannot install what node-llama-cpp needs") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable("npm cannot install what node-llama-cpp needs") from error


def node_llama_cpp(version):
    """A folder where a program finds node-llama-cpp of that version, with its binaries for this machine."""
    shared = in_cache("node-llama-cpp", contents(os.path.join(LOCKED, "package-lock.json")), install_locked)
    key, install = modules(f"node-llama-cpp@{version}", f"@node-llama-cpp/{MACHINE}@{version}")

    def fill(folder):
        install(folder)
        # The one dependency whose major versions are not compatible; the lock file has each under a name of its own.
        needs = json.loads(contents(os.path.join(folder, "node_modules", "node-llama-cpp", "package.json")))
        its_own = "lifecycle-utils-" + needs["dependencies"]["lifecycle-utils"].lstrip("^").split(".")[0]
        if os.path.exists(os.path.join(shared, "node_modules", its_own)):
            os.symlink(f"../../node_modules/{its_own}", os.path.join(folder, "node_modules", "lifecycle-utils"))

    return in_cache(os.path.join("node-llama-cpp", version), key, fill)


def fugood_llama(version):
    """A folder where a program finds @fugood/llama.node of that version, with its binaries for this machine."""
    return in_cache(
        f"fugood-llama-{version}",
        *modules(f"@fugood/llama.node@{version}", f"@fugood/node-llama-{MACHINE}@{version}"),
    )


def vulkan_libraries(package):
    """The folder with a package's libraries of llama.cpp with Vulkan, under the names that our programs look for."""

    def fill(folder):
        unpack(package, folder, "--wildcards", "package/bins/*/*.so", strip=3)
        for name in ("llama", "ggml", "ggml-base", "llama-common"):
            found = glob.glob(os.path.join(folder, f"lib{name}.vulkan.*.so")) or [f"lib{name}.so"]
            os.symlink(os.path.basename(found[0]), os.path.join(folder, f"lib{name}.so.0"))

    return in_cache("device-vulkan-" + package.rpartition("@")[2], "\n".join(checksums([package])), fill)
