"""Draws photographs of a metal surface, some with defects: a folder to try things on.

python docs/make_defects.py photos

writes photos/labeled/<class>/ (25 of each class), photos/unlabeled/ (4,000) and
photos/test/<class>/ (250 of each). The names of unlabeled files say nothing.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 64
Draw = Callable[[Image.Image, np.random.Generator], Image.Image]


def surface(rng: np.random.Generator) -> Image.Image:
    """Brushed metal: streaks along one axis, under uneven light."""
    streaks = rng.normal(0, rng.uniform(4, 14), (SIDE, 1)) + rng.normal(
        0, 5, (SIDE, SIDE)
    )
    across, down = rng.uniform(-25, 25, 2)
    ramp = np.linspace(-1, 1, SIDE)
    light = rng.uniform(90, 170) + across * ramp + down * ramp[:, None]
    gray = streaks + light
    tint = rng.uniform(-6, 6, 3)
    pixels = (gray[..., None] + tint).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).rotate(90 * int(rng.integers(2)))


def good(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """No defect."""
    return image


def scratch(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A thin line of one shade."""
    angle, length = rng.uniform(0, np.pi), rng.uniform(20, 45)
    middle = rng.uniform(20, SIDE - 20, 2)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    line = [*(middle - reach), *(middle + reach)]
    shade = int(rng.choice([40, 235]))
    return drawn(image, lambda d: d.line(line, fill=shade, width=2), shade, 0.6, rng)


def hole(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A small dark disc."""
    radius = rng.uniform(2.5, 6)
    box = around(rng, radius, radius * rng.uniform(0.8, 1.2))
    return drawn(image, lambda d: d.ellipse(box, fill=255), 15, 0.7, rng)


def stain(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A large blot with a soft edge."""
    box = around(rng, rng.uniform(7, 14), rng.uniform(7, 14))
    return drawn(image, lambda d: d.ellipse(box, fill=255), 60, 4.0, rng)


DEFECTS: dict[str, Draw] = {
    "good": good,
    "hole": hole,
    "scratch": scratch,
    "stain": stain,
}


def around(rng: np.random.Generator, width: float, height: float) -> list[float]:
    """A box around a random place."""
    x, y = rng.uniform(14, SIDE - 14, 2)
    return [x - width, y - height, x + width, y + height]


def drawn(
    image: Image.Image,
    draw: Callable[[ImageDraw.ImageDraw], None],
    shade: int,
    blur: float,
    rng: np.random.Generator,
) -> Image.Image:
    """Lays a blurred shape over an image, more or less visible."""
    mask = Image.new("L", image.size, 0)
    draw(ImageDraw.Draw(mask))
    mask = mask.point(lambda value: 255 if value else 0)
    strength = rng.uniform(0.45, 0.95)
    mask = mask.filter(ImageFilter.GaussianBlur(blur)).point(
        lambda value: value * strength
    )
    return Image.composite(Image.new("RGB", image.size, (shade,) * 3), image, mask)


def main() -> None:
    """Writes the three folders."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--labeled", type=int, default=25, help="of each class")
    parser.add_argument("--unlabeled", type=int, default=4000, help="in all")
    parser.add_argument("--test", type=int, default=250, help="of each class")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)

    def write(folder: Path, name: str, index: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        image = DEFECTS[name](surface(rng), rng)
        image.save(folder / f"{index:05}.jpg", quality=92)

    for part, count in (("labeled", options.labeled), ("test", options.test)):
        for name in DEFECTS:
            for index in range(count):
                write(options.folder / part / name, name, index)
    for index in range(options.unlabeled):
        write(options.folder / "unlabeled", rng.choice(list(DEFECTS)), index)
    print(f"Wrote {options.folder} with the classes {', '.join(DEFECTS)}")


if __name__ == "__main__":
    main()
