"""tools/gpu-check --collect: what a build on a machine without a package registry needs, in .deps/."""
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from .stage import CARRIED, PACKAGES, PICTURES, REVISION, ROOT, output_of

TRAVEL_LIMIT = 64 << 20  # bytes of checkout and carried folders that a GPU machine takes
TOOLS = "g++ cmake ninja-build ccache git ca-certificates".split()  # that machine has its own
SYSTEM = re.compile(r"^(gcc-.*|lib(c6|gcc|stdc\+\+|crypt|pkgconf).*|pkg-config|pkgconf.*|linux-libc-dev)$")


def packages():
    """The packages that ./run installs, and the libraries they need at run time, less what every system has."""
    wanted = [name for name in output_of("./run", "deps", "--print").split() if name not in TOOLS]
    no = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    listed = output_of("apt-cache", "depends", "--recurse", *no, *wanted).splitlines()
    names = {line for line in listed if line and line[0].isalnum()}
    return sorted(name for name in names | set(wanted) if not SYSTEM.match(name))


def collect(shared):
    if shared is None:  # beside the main checkout, also for a worktree
        checkout = Path(output_of("git", "rev-parse", "--path-format=absolute", "--git-common-dir")).parent
        shared = checkout.parent / "shared"
    shared = Path(shared)
    names = packages()
    print(f"{len(names)} packages: {' '.join(names)}", flush=True)
    subprocess.run([shared / "gpu/collect-deps", *names], cwd=ROOT, check=True)
    # Unpacked they are larger than what may travel, and links to libraries are safe in an archive.
    folders = [folder for folder in sorted(CARRIED.iterdir()) if folder.is_dir()]
    with tarfile.open(PACKAGES, "w:xz", preset=2) as archive:
        for folder in folders:
            archive.add(folder, folder.name)
    for folder in folders:
        shutil.rmtree(folder)
    PICTURES.parent.mkdir(parents=True)
    shutil.copyfile(shared / "data" / PICTURES.name, PICTURES)
    REVISION.write_text(output_of("git", "describe", "--always", "--dirty") + "\n")
    tracked = output_of("git", "ls-files", "-co", "--exclude-standard", "-z").split("\0")
    size = sum((ROOT / name).lstat().st_size for name in set(tracked) if name and (ROOT / name).exists())
    carried = sum(file.stat().st_size for file in CARRIED.rglob("*") if file.is_file())
    print(f"checkout {size / 2**20:.1f} MiB, .deps {carried / 2**20:.1f} MiB, limit {TRAVEL_LIMIT >> 20} MiB")
    print('carry: [".deps"]')
    return 0 if size + carried <= TRAVEL_LIMIT else 1
