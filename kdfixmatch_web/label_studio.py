"""Labels as Label Studio exports and imports them: its JSON of tasks."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from kdfixmatch_web.image_folder import ImageFolder

# Names of the tags of a project: <Image name="image" value="$image"/> and
# <Choices name="choice" toName="image">.
_CHOICE, _IMAGE = "choice", "image"
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")


def to_tasks(labels: Mapping[str, str], images: ImageFolder) -> str:
    """Labels as JSON of tasks with an annotation each.

    An image is what Label Studio's local storage serves, whose root is the folder above
    that of the images.

    Args:
        labels: Labels by name of the image. Those of other files are left out.
        images: The images.
    """
    folder = images.root.absolute().name
    tasks = [
        {
            "data": {_IMAGE: f"/data/local-files/?d={quote(f'{folder}/{name}')}"},
            "annotations": [{"result": [_result(label)]}],
        }
        for name, label in labels.items()
        if name in images
    ]
    return json.dumps(tasks, indent=1, ensure_ascii=False) + "\n"


def _result(label: str) -> dict[str, Any]:
    return {
        "from_name": _CHOICE,
        "to_name": _IMAGE,
        "type": "choices",
        "value": {"choices": [label]},
    }


def read_tasks(path: Path, images: ImageFolder, argument: str) -> dict[str, str]:
    """Labels in a JSON file that Label Studio exported.

    Args:
        path: The file.
        images: The images, of which some are those of the tasks.
        argument: Name that error messages give to the file.

    Returns:
        Labels by name of the image. Tasks without an annotation are left out.

    Raises:
        ValueError: It is no such file; a task is of no image of the folder, or of
            several that it could be; or an image has several labels.
    """

    def refused(what: str, remedy: str = "") -> ValueError:
        return ValueError(
            f"`{argument}` must be a JSON file that Label Studio exported, with one "
            f"choice for each image of the folder. Received: {path}, {what}"
            + (f". {remedy}" if remedy else "")
        )

    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise refused(f"which cannot be read ({error})") from error
    if not isinstance(tasks, list) or not all(
        isinstance(task, dict)
        and isinstance(task.get("data"), dict)
        and isinstance(task.get("annotations", []), list)
        for task in tasks
    ):
        raise refused("which is no list of tasks", 'Export as "JSON", not "JSON-MIN".')
    finder = _Finder(images)
    found: dict[str, str] = {}
    for place, task in enumerate(tasks, 1):
        try:
            labels = set(_labels(task))
        except (AttributeError, KeyError, TypeError) as error:
            raise refused(f"whose task {place} is another kind of thing") from error
        if not labels:
            continue
        name = finder.name_of(task["data"])
        if isinstance(name, list):
            which = " and ".join(name[:2]) if name else "no image of the folder"
            raise refused(f"whose task {place} is of {which}: {task['data']}")
        label = labels.pop()
        if labels or found.setdefault(name, label) != label:
            others = ", ".join(sorted({label, found.get(name, label), *labels}))
            raise refused(f"which has several labels of {name}: {others}")
    return found


def _labels(task: Mapping[str, Any]) -> Iterator[str]:
    for annotation in task.get("annotations", []):
        if annotation.get("was_cancelled"):
            continue
        for result in annotation["result"]:
            if result["type"] == "choices":
                for choice in result["value"]["choices"]:
                    if not isinstance(choice, str):
                        raise TypeError(choice)
                    yield choice


class _Finder:
    """Finds the image of a folder that an address in Label Studio is of."""

    def __init__(self, images: ImageFolder) -> None:
        self._named: dict[str, list[str]] = defaultdict(list)
        for name in images.names:
            self._named[name.rpartition("/")[2]].append(name)

    def name_of(self, data: Mapping[str, Any]) -> str | list[str]:
        """The name of the image of a task, or all that it could be."""
        found = [
            name
            for value in data.values()
            if isinstance(value, str)
            for name in self._found(value)
        ]
        return found[0] if len(found) == 1 else found

    def _found(self, address: str) -> list[str]:
        parts, is_upload = _parts(address)
        uploaded = _UPLOADED.fullmatch(parts[-1]) if is_upload else None
        if uploaded and uploaded[1] in self._named:
            # Whatever folder it was in, Label Studio has forgotten.
            return self._named[uploaded[1]]
        candidates = self._named.get(parts[-1], [])
        inside = [n for n in candidates if parts[-(n.count("/") + 1) :] == n.split("/")]
        if inside:
            return [max(inside, key=len)]
        return [n for n in candidates if n.split("/")[-len(parts) :] == parts]


def _parts(address: str) -> tuple[list[str], bool]:
    """The parts of the path in an address, and whether it is of an uploaded file."""
    try:
        split = urlsplit(address)
    except ValueError:
        return [address], False
    if "local-files" in split.path:
        path = parse_qs(split.query).get("d", [""])[0]
        return path.replace("\\", "/").strip("/").split("/"), False
    is_address = bool(split.scheme and split.netloc) or "/upload/" in split.path
    path = unquote(split.path) if is_address else address
    return path.replace("\\", "/").strip("/").split("/"), "/upload/" in split.path
