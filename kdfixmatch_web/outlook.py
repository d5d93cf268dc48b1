"""What a run makes of the images: guesses, doubts, and which look alike."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.storage.files import written_aside


def write_outlook(
    path: Path,
    names: Sequence[str],
    class_names: Sequence[str],
    probabilities: npt.NDArray[np.floating],
    embeddings: npt.NDArray[np.floating],
) -> None:
    """Writes what `Outlook.read` reads.

    Args:
        path: NPZ file to write.
        names: Names of n images.
        class_names: Names of K classes.
        probabilities: Float array of shape (n, K).
        embeddings: Float array of shape (n, D).
    """
    lengths = np.linalg.norm(embeddings.astype(np.float32), axis=1, keepdims=True)
    content = {
        # An array of strings has the room of the longest for each.
        "names": _packed(names),
        "class_names": _packed(class_names),
        "probabilities": probabilities.astype(np.float32),
        "embeddings": (embeddings / np.maximum(lengths, 1e-12)).astype(np.float16),
    }
    with written_aside(path) as aside, open(aside, "wb") as file:
        np.savez(file, allow_pickle=False, **content)


@dataclass(frozen=True)
class Guess:
    """What a run takes an image for.

    Attributes:
        label: The class.
        confidence: Its probability.
    """

    label: str
    confidence: float


class Outlook:
    """What a run makes of n images.

    Args:
        names: Their names.
        class_names: Names of K classes.
        probabilities: Float array of shape (n, K).
        embeddings: Float array of shape (n, D), each of length 1.

    Attributes:
        class_names: Names of the classes.
    """

    def __init__(
        self,
        names: Sequence[str],
        class_names: Sequence[str],
        probabilities: npt.NDArray[np.float32],
        embeddings: npt.NDArray[np.float16],
    ) -> None:
        self.class_names = list(class_names)
        self._names = list(names)
        self._index = {name: index for index, name in enumerate(self._names)}
        self._best = probabilities.argmax(axis=1)
        self._confidence = probabilities.max(axis=1)
        two = np.sort(probabilities, axis=1)[:, -2:]
        # From the two likeliest classes that are equally likely to a clear one.
        self._order = np.argsort(two[:, -1] - two[:, 0], kind="stable")
        self._embeddings = embeddings

    @classmethod
    def read(cls, path: Path) -> "Outlook":
        """Reads what `write_outlook` wrote.

        Raises:
            ValueError: The file is damaged.
            OSError: There is no such file.
        """
        # NumPy leaves a damaged file open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            return cls(
                _unpacked(found["names"]),
                _unpacked(found["class_names"]),
                found["probabilities"],
                found["embeddings"],
            )

    def guess(self, name: str) -> Guess | None:
        """What an image is taken for, None if that is not known."""
        index = self._index.get(name)
        if index is None:
            return None
        label = self.class_names[self._best[index]]
        return Guess(label, round(float(self._confidence[index]), 4))

    def doubtful(self, label: str | None = None) -> Iterable[str]:
        """Names of the images, the most doubtful first.

        Args:
            label: Only those that are taken for this class.
        """
        for index in self._order:
            if label is None or self.class_names[self._best[index]] == label:
                yield self._names[index]

    def similar(self, name: str, among: Collection[str], count: int) -> list[str]:
        """The images of some that look most like one, the nearest first.

        Args:
            name: Name of an image.
            among: Names of those that are compared.
            count: How many to return at most.
        """
        index = self._index.get(name)
        others = np.array(
            [i for n in among if (i := self._index.get(n)) is not None and i != index],
            np.int64,
        )
        if index is None or not len(others):
            return []
        own = self._embeddings[index].astype(np.float32)
        nearness = self._embeddings[others].astype(np.float32) @ own
        return [self._names[i] for i in others[np.argsort(-nearness)[:count]]]


def _packed(texts: Sequence[str]) -> npt.NDArray[np.uint8]:
    # No path holds a null character, and no class does.
    return np.frombuffer("\0".join(texts).encode(), np.uint8)


def _unpacked(array: npt.NDArray[np.uint8]) -> list[str]:
    return array.tobytes().decode().split("\0")
