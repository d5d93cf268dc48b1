"""What a file is by its first bytes, and which folders are not a user's own."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

# What those that are read begin with. Pillow knows fifty more, and starts Ghostscript
# for one.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
READ = "JPEG, PNG, BMP, GIF, WebP and TIFF"
HEIC = "HEIC"
HEIC_REMEDY = 'pip install "kdfixmatch-keras[heic]" reads HEIC'

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BEGINNINGS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": _TIFF,
    # Others, which a user would miss.
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"),
    "PPM": tuple(b"P%d%c" % (n, s) for n in range(1, 8) for s in b"\n\r\t "),
    "PSD": (b"8BPS\0",),
    "FITS": (b"SIMPLE  =",),
    "OpenEXR": (b"v/1\x01",),
    "PDF": (b"%PDF-",),
    "ZIP": (b"PK\x03\x04",),
    "RAR": (b"Rar!\x1a\x07",),
    "7z": (b"7z\xbc\xaf\x27\x1c",),
    "NumPy": (b"\x93NUMPY",),
    "HDF5": (b"\x89HDF\r\n\x1a\n",),
}
_HEADS = 132
# Brands of the ISO container that HEIC and AVIF share with films.
_BRANDS = {
    HEIC: (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
    "AVIF": (b"avif", b"avis"),
    "raw of a camera": (b"crx ",),
}

# Other kinds in the container of TIFF or JPEG, of which only a thumbnail could be read.
_RAW = (
    ".3fr .arw .cr2 .dcr .dng .erf .iiq .kdc .mef .mos .nef .nrw .orf .pef .raf .rw2 "
    ".sr2 .srf .srw"
).split()
_BY_EXTENSION = {**dict.fromkeys(_RAW, "raw of a camera"), ".thm": "thumbnail"}

# Of file servers, recycle bins and archivers: thumbnails, and what a user deleted.
_NOT_OF_THE_USER = {
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "@__thumb",
    "@eadir",
    "@recently-snapshot",
    "@recycle",
    "@sharebin",
    "@tmp",
    "__macosx",
    "lost+found",
    "system volume information",
}


def is_of_a_file_server(folder: str) -> bool:
    """Whether a folder of this name holds thumbnails or deleted files, not a user's."""
    return folder.lower() in _NOT_OF_THE_USER


def can_read_heic() -> bool:
    """Whether the package that reads HEIC is installed, the extra `heic`."""
    return importlib.util.find_spec("pillow_heif") is not None


def is_read(kind: str) -> bool:
    """Whether files of a kind, as `kind_of` names it, are read as images."""
    return kind.upper() in FORMATS or (kind == HEIC and can_read_heic())


def kind_of(head: bytes) -> str:
    """What a file is by its first bytes, or an empty text for what is not known."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    # Many texts begin with these two letters; then follows where the pixels begin.
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return "BMP"
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, 40, 4))}
        # Before that of HEIC, as AVIF files have a brand of both.
        for kind in ("AVIF", "raw of a camera", HEIC):
            if brands & set(_BRANDS[kind]):
                return kind
        return "film"
    if head[128:132] == b"DICM":
        return "DICOM"
    for kind, beginnings in _BEGINNINGS.items():
        if head.startswith(beginnings):
            return kind
    return ""


def kind_of_file(path: Path) -> str:
    """What a file is by its first bytes, as `kind_of` tells.

    Where the first bytes are those of another kind, as of the raw files of cameras,
    its extension decides; a file that cannot be opened is of no known kind.
    """
    by_extension = _BY_EXTENSION.get(path.suffix.lower())
    if by_extension is not None:
        return by_extension
    try:
        with open(path, "rb") as file:
            return kind_of(file.read(_HEADS))
    except OSError:
        return ""


def passed_over_kind(path: Path, kind: str) -> str:
    """What a user would call a file that is not read as an image."""
    return kind or path.suffix.lower() or "without extension"


def passed_over_line(passed_over: Mapping[str, int]) -> str:
    """How many files of which kinds were passed over, most first; empty for none."""
    counted = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    line = ", ".join(f"{count:,} {kind}" for kind, count in counted)
    if HEIC in passed_over and not can_read_heic():
        line += f" ({HEIC_REMEDY})"
    return line
