"""How to make uint8 pixels of others, by the range that they are in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

# What resizing with a bicubic filter adds to a range, at most, as a share of it.
_OVERSHOOT = 0.25
# Below this level, of 255, a range is hardly that of bytes.
_DARK = 64
# Levels of cameras, whose pixels come in 16 bits or in floats.
_DEEP = [2**bits - 1 for bits in range(9, 17)]
# Share of the images that are in another range than the rest, if any are.
_MIN_MIXED = 0.1
_UNKNOWN = "That is no range of pixels that is known: scale them to [0, 255] first."
_STANDARDISED = (
    "It looks as if a mean had been subtracted from them: pass the pixels as they were "
    "before, in [0, 255]. The network normalizes them itself."
)


@dataclass(frozen=True)
class _Conversion:
    """Code that makes uint8 pixels of those in a range, `{0}` being their name.

    Attributes:
        interval: The range.
        array: What NumPy does.
        tensor: What TensorFlow does.
    """

    interval: str
    array: str
    tensor: str


def _of_floats(interval: str, scaled: str) -> _Conversion:
    """A conversion that rounds, and cuts off what is beyond the range."""
    array = scaled if scaled == "{0}" else f"({scaled})"
    return _Conversion(
        interval,
        f'{array}.round().clip(0, 255).astype("uint8")',
        f"tf.saturate_cast(tf.round({scaled}), tf.uint8)",
    )


def _of_integers(interval: str, divisor: int = 1) -> _Conversion:
    array = "{0}" if divisor == 1 else f"({{0}} // {divisor})"
    tensor = "{0}" if divisor == 1 else f"{{0}} // {divisor}"
    return _Conversion(
        interval, f'{array}.astype("uint8")', f"tf.cast({tensor}, tf.uint8)"
    )


_OF_BOOLEANS = _Conversion(
    "[0, 1]", '{0}.astype("uint8") * 255', "tf.cast({0}, tf.uint8) * 255"
)
_OF_SIGNED_BYTES = _Conversion(
    "[-128, 127]",
    '({0}.astype("int16") + 128).astype("uint8")',
    "tf.cast(tf.cast({0}, tf.int16) + 128, tf.uint8)",
)
_UNIT = _of_floats("[0, 1]", "{0} * 255")
_SYMMETRIC = _of_floats("[-1, 1]", "({0} + 1) * 127.5")
_CENTRED = _of_floats("[-0.5, 0.5]", "({0} + 0.5) * 255")
_BYTES = _of_floats("[0, 255]", "{0}")


def not_uint8(
    parts: Iterable[npt.NDArray[Any]], argument: str, spec: Any = None
) -> ValueError:
    """The error of pixels that are not uint8, which says how to convert them.

    Args:
        parts: Arrays of one dtype, at least one: the images, or some of them.
        argument: Name that the caller knows the data by.
        spec: The `element_spec` of the `tf.data.Dataset` whose images they are.
            `None`: an array has them.
    """
    parts = iter(parts)
    first = next(parts)
    dtype = first.dtype
    received, remedy = f"dtype={dtype}", ""
    if dtype.kind == "O":
        remedy = (
            "Images of many sizes can come from a folder or a tf.data.Dataset, with "
            "image_size=(height, width)."
        )
    elif dtype.kind in "biu" or _is_float(dtype):
        low, highs, is_finite = _range((first, *parts))
        high = max(highs, default=-np.inf)
        # What is right for some would make the others black, or white.
        in_unit = sum(0 < found <= 1 for found in highs)
        is_mixed = low >= 0 and high >= _DARK and in_unit >= _MIN_MIXED * len(highs)
        if not is_finite:
            received += " with NaN or infinity"
            remedy = "Find where that comes from before converting to uint8."
        elif is_mixed and _is_float(dtype):
            received += f", pixels from {low:g} to {high:g}"
            remedy = (
                f"Some images are in [0, 1], {in_unit:,} of {len(highs):,}: bring all "
                "to one range before converting to uint8."
            )
        else:
            received += f", pixels from {low:g} to {high:g}"
            remedy = _remedy(_conversions(dtype, low, high), low, spec)
    return ValueError(
        f"`{argument}` must hold uint8 images. Received: {received}. {remedy}".rstrip()
    )


def _is_float(dtype: np.dtype[Any]) -> bool:
    # Those of half precision on an accelerator, such as bfloat16, are of kind "V".
    return dtype.kind == "f" or "float" in dtype.name


def _range(parts: Iterable[npt.NDArray[Any]]) -> tuple[float, list[float], bool]:
    """Least pixel, largest of each image, whether all are finite; one at a time."""
    low, highs, is_finite = np.inf, [], True
    for part in parts:
        for image in part if part.ndim > 3 else part[np.newaxis]:
            pixels = image.astype(np.float64)
            is_finite = is_finite and bool(np.isfinite(pixels).all())
            low = min(low, pixels.min())
            highs.append(float(pixels.max()))
    return float(low), highs, is_finite


def _conversions(dtype: np.dtype[Any], low: float, high: float) -> list[_Conversion]:
    """Those that pixels from `low` to `high` can mean; none where that is unknown."""
    if dtype.kind == "b":
        return [_OF_BOOLEANS]
    if dtype.kind in "iu":
        return _of_integers_in(dtype, low, high)
    if low < 0:
        return _of_signed_floats(low, high)
    if high == 0:
        return [_UNIT, _BYTES]
    if high <= 1 + _OVERSHOOT:
        return [_UNIT]
    if high < _DARK:
        return [_up_to(high), _BYTES]
    if high <= 255 * (1 + _OVERSHOOT):
        return [_BYTES]
    return [
        _of_floats(f"[0, {most}]", f"{{0}} * (255 / {most})") for most in _depths(high)
    ]


def _of_integers_in(dtype: np.dtype[Any], low: float, high: float) -> list[_Conversion]:
    if low < 0:
        return [_OF_SIGNED_BYTES] if dtype.itemsize == 1 else []
    if high == 0:
        return [_OF_BOOLEANS, _of_integers("[0, 255]")]
    if high == 1:
        return [_OF_BOOLEANS]
    if high < _DARK:
        whole = _up_to(high)
        # TensorFlow does not multiply integers by what is none.
        tensor = whole.tensor.replace("{0}", "tf.cast({0}, tf.float32)")
        return [replace(whole, tensor=tensor), _of_integers("[0, 255]")]
    if high <= 255:
        return [_of_integers("[0, 255]")]
    return [_of_integers(f"[0, {most}]", (most + 1) // 256) for most in _depths(high)]


def _of_signed_floats(low: float, high: float) -> list[_Conversion]:
    if low >= -1 - _OVERSHOOT and high <= 1 + _OVERSHOOT:
        if max(-low, high) <= 0.5:
            return [_CENTRED, _SYMMETRIC]
        # Of [0, 1] resized, or of [-1, 1] and light.
        return [_UNIT, _SYMMETRIC] if low >= -_OVERSHOOT else [_SYMMETRIC]
    if high >= _DARK and low >= -_OVERSHOOT * high and high <= 255 * (1 + _OVERSHOOT):
        return [_BYTES]
    return []


def _up_to(high: float) -> _Conversion:
    """For a range that ends at the largest pixel there is."""
    return _of_floats(f"[0, {high:g}]", f"{{0}} * (255 / {high:g})")


def _depths(high: float) -> list[int]:
    """What `high` can be a level of: the least, and 16 bits, of which it is dark."""
    possible = [most for most in _DEEP if high <= most]
    return sorted({*possible[:1], *possible[-1:]})


def _remedy(found: list[_Conversion], low: float, spec: Any) -> str:
    if not found:
        return _STANDARDISED if low < 0 else _UNKNOWN
    first, *others = found
    sentence = f"Pixels in {first.interval} are converted by `{_code(first, spec)}`"
    for other in others:
        sentence += f", those in {other.interval} by `{_code(other, spec)}`"
    return f"{sentence}."


def _code(conversion: _Conversion, spec: Any) -> str:
    if spec is None:
        return conversion.array.format("images")
    return code_of_map(conversion.tensor, spec)


def code_of_map(code: str, spec: Any) -> str:
    """What does something to the images of a `tf.data.Dataset`, as code.

    Args:
        code: What makes of an image `{0}` another.
        spec: The `element_spec` of the dataset.
    """
    if isinstance(spec, Mapping):
        image = code.format('data["image"]')
        return f'.map(lambda data: {{**data, "image": {image}}})'
    image = code.format("image")
    if isinstance(spec, tuple | list) and len(spec) == 2:
        return f".map(lambda image, label: ({image}, label))"
    return f".map(lambda image: {image})"
