"""What a training of a `KDFixMatch` starts from, if not from the beginning.

A network for its first stage; or an earlier training, of other labels as a rule, whose
networks it goes on from. Classes are matched by name, so that it does not matter which
numbers they have on either side.
"""

import hashlib
import os
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras import backbones
from kdfixmatch_keras.backbones.outer import check_given_outer
from kdfixmatch_keras.backbones.weights import set_weights
from kdfixmatch_keras.backend import processes
from kdfixmatch_keras.fixmatch import FixMatch, student_of
from kdfixmatch_keras.serving import saving
from kdfixmatch_keras.training.data import TrainingData

# What says of which network the weights are.
NETWORK = ("backbone", "outer_backbone", "embedding_dim", "finetune")
# Images that a network must see as the earlier one did, and how far its probabilities
# may be from the earlier ones: by rounding in float32, or in half of that.
_IMAGES = 8
_ROUNDING, _HALF_PRECISION = 0.01, 0.05
_OTHERWISE = "Pass the same, or leave `continue_from` out to start from the beginning."


class Start:
    """What the networks of a training start from; see `opened`.

    Args:
        earlier: A trained `KDFixMatch`, or None.
        class_names: The classes of this training, which are those of `earlier` and
            perhaps more.
    """

    def __init__(self, earlier: Any, class_names: list[str]) -> None:
        self._earlier = earlier
        known = [] if earlier is None else earlier.class_names
        # Where the rows of the known classes are.
        self._rows = [class_names.index(name) for name in known]

    def __bool__(self) -> bool:
        """Whether there is an earlier training."""
        return self._earlier is not None

    def identity(self) -> str | None:
        """A digest of what is taken over, None of nothing."""
        if self._earlier is None:
            return None
        digest = hashlib.sha256("\n".join(self._earlier.class_names).encode())
        for network in (self._earlier.outer, self._earlier.inner):
            for array in network.teacher.get_weights():
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def of(self, network: FixMatch) -> FixMatch:
        """Gives a fresh network what is known of its stage, and returns it.

        Student and teacher get the weights of the earlier teacher, and in the layer of
        the logits the rows of its classes; those of new classes stay as they are.
        """
        if self._earlier is None:
            return network
        theirs = self._teacher(network).get_weights()
        own = network.student.get_weights()
        for number in _places_of_logits(network.student):
            own[number][..., self._rows] = theirs[number]
            theirs[number] = own[number]
        set_weights(network.student, theirs)
        set_weights(network.teacher, theirs)
        return network

    def check(self, network: FixMatch, images: np.ndarray) -> None:
        """Checks that a fresh network says what the earlier one says, and gives it.

        Args:
            network: A network of this training, of its stage, which is thrown away.
            images: uint8 `(n, H, W, C)`, some of this training.

        Raises:
            ValueError: Its weights are of other shapes, or it computes something else
                with the same weights.
        """
        earlier, own = self._teacher(network), network.student
        logits = _places_of_logits(own)
        shapes = [
            [tuple(x.shape) for n, x in enumerate(model.weights) if n not in logits]
            for model in (earlier, own)
        ]
        if shapes[0] != shapes[1] or _places_of_logits(earlier) != logits:
            raise _refusal("weights of other shapes")
        if processes.are_several():
            # Which hold parts of what a network is called with.
            return
        before = _probabilities(earlier(images, training=False))
        outputs = self.of(network).teacher(images, training=False)
        after = _probabilities(outputs, self._rows)
        policies = {x.get_layer("embedding").dtype_policy.name for x in (earlier, own)}
        limit = _ROUNDING if policies == {"float32"} else _HALF_PRECISION
        # Weights that are no numbers are refused when the training begins.
        if not np.allclose(before, after, rtol=0.0, atol=limit, equal_nan=True):
            raise _refusal(
                "the same weights with which it computes something else, as with "
                "other `pixels` or layers"
            )

    def _teacher(self, network: FixMatch) -> keras.Model:
        """The earlier network of the same stage, the average of its weights."""
        stage = network.name.removeprefix("fixmatch_")
        teacher: keras.Model = getattr(self._earlier, stage).teacher
        return teacher


def opened(
    model: Any, continue_from: Any, data: TrainingData, outer: Any = None
) -> Start:
    """Checks what a training is to start from; nothing is trained yet.

    Args:
        model: The `KDFixMatch` that is to be trained.
        continue_from: A trained one, where one is saved, the folder of a run, or None.
            It is only read.
        data: Images of the training.
        outer: A network for the first stage, or None.

    Returns:
        What gives the networks their first weights.

    Raises:
        TypeError: `continue_from` or `outer` is something else.
        ValueError: It holds no trained model, knows a class that the labels lack, or
            has another network; or `outer` does not fit.
    """
    if outer is not None:
        network = student_of("outer", outer)
        if continue_from is not None:
            raise ValueError(
                "`outer` must be None where `continue_from` is given, which has an "
                f"outer network. Received: outer={outer.name!r}"
            )
        own = model.new_inner(data, model.seed).student
        check_given_outer(network, own, model.inner_init, model.finetune)
    if continue_from is None:
        return Start(None, [])
    earlier = continue_from
    if isinstance(continue_from, str | os.PathLike):
        earlier = saving.load(type(model), continue_from, "continue_from")
    # Not the class: this module is below that of `KDFixMatch`.
    if not all(hasattr(earlier, name) for name in (*saving.NETWORKS, "class_names")):
        raise TypeError(
            "`continue_from` must be a trained KDFixMatch, or the path of a saved one "
            f"or of a run. Received: continue_from of type {type(earlier).__name__}"
        )
    if earlier.inner is None or earlier.class_names is None:
        raise ValueError(
            "`continue_from` must be a trained KDFixMatch. Received: one before `fit`"
        )
    _check_classes(earlier.class_names, data.labeled.class_names)
    _check_settings(earlier, model, data)
    start = Start(earlier, data.labeled.class_names)
    count = min(len(data.unlabeled), _IMAGES)
    rows = np.linspace(0, len(data.unlabeled) - 1, count).astype(np.int64)
    for new in (model.new_outer, model.new_inner):
        start.check(new(data, model.seed), data.unlabeled[rows])
    return start


def _check_classes(known: list[str], class_names: list[str]) -> None:
    gone = [name for name in known if name not in class_names]
    if gone:
        raise ValueError(
            "`continue_from` must know no class that the labels lack. Received: one "
            f"that knows {', '.join(map(repr, gone))}, and labels of "
            f"{', '.join(map(repr, class_names))}. Label images of each of its "
            "classes, or leave `continue_from` out to start from the beginning."
        )


def _check_settings(earlier: Any, model: Any, data: TrainingData) -> None:
    """Names settings in which the networks differ, as far as they can be compared."""
    found: dict[str, tuple[Any, Any]] = {
        name: (getattr(earlier, name), getattr(model, name))
        for name in NETWORK
        # What was not saved, its weights tell.
        if name not in earlier.unsaved_arguments
    }
    found["image shape"] = earlier.image_shape, data.labeled.images.image_shape
    # On another, the same image is brighter or darker than it was.
    ranges = earlier.intensity_range, data.intensity_range
    found["range of 16-bit intensities"] = str(ranges[0]), str(ranges[1])
    if not earlier.unsaved_arguments:
        # A frozen batch norm, or one that is trained.
        names = ("backbone", "weights", "pretrained")
        are_pretrained = [
            backbones.is_pretrained(*(getattr(x, name) for name in names))
            for x in (earlier, model)
        ]
        if are_pretrained[0] != are_pretrained[1]:
            found |= {x: (getattr(earlier, x), getattr(model, x)) for x in names[1:]}
    differing = [
        f"{name} ({there!r} there, {here!r} here)"
        for name, (there, here) in found.items()
        # Of networks and functions, their weights tell more.
        if there != here
        and all(isinstance(x, str | int | tuple | None) for x in (there, here))
    ]
    if differing:
        raise _refusal(f"a model with other {', '.join(differing)}")


def _refusal(received: str) -> ValueError:
    return ValueError(
        "`continue_from` must have the networks of this model, as their weights are "
        f"taken over. Received: {received}. {_OTHERWISE}"
    )


def _places_of_logits(model: keras.Model) -> list[int]:
    """Where among the weights those are that have a row for each class."""
    own = {id(variable) for variable in model.get_layer("logits").weights}
    return [n for n, variable in enumerate(model.weights) if id(variable) in own]


def _probabilities(logits: Any, rows: list[int] | None = None) -> np.ndarray:
    """Softmax over the classes of rows, float64 `(n, K)`."""
    found = keras.ops.convert_to_numpy(logits).astype(np.float64)
    chosen = found if rows is None else found[:, rows]
    powers = np.exp(chosen - chosen.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
