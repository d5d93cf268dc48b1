"""What looks wrong with a run, in plain words, and what to do about it."""

from collections.abc import Iterator
from typing import Any

from kdfixmatch_keras.training.watch import remedy_for_few_targets, swallowing_limit

Sign = dict[str, str]
# Below this share of the unlabeled images, nothing to speak of has a target.
LOW_MASK_RATE = 0.01
MAX_NAMES = 8
# What is looked for, by a code that keeps its meaning, and what is said where nothing
# is found. `docs/findings.md` has a section for each.
CHECKS = {
    "KD001": "The inner network is not behind another one on the test images.",
    "KD002": "Images of every class are trusted.",
    "KD003": "No class is taken for others on a large scale.",
    "KD004": "Both networks learned from unlabeled images to the end.",
}


def find(contents: dict[str, Any]) -> list[Sign]:
    """Looks for signs of a run that has gone wrong.

    Args:
        contents: What `collect` has gathered.

    Returns:
        Dictionaries of `"code"`, `"title"`, `"text"` (what was seen) and `"remedy"`.
    """
    looks = _worse_than_another, _too_few_trusted, _swallowing, _without_targets
    return [
        {"code": code, **sign}
        for code, look in zip(CHECKS, looks, strict=True)
        for sign in look(contents)
    ]


def passed(contents: dict[str, Any]) -> dict[str, str]:
    """What was looked for and not found, in words, by code.

    Args:
        contents: What `collect` has gathered, and its `"warnings"`.
    """
    failed = {sign["code"] for sign in contents["warnings"]}
    if contents["test"] is None:
        # Without test images nobody knows.
        failed.add("KD001")
    return {code: words for code, words in CHECKS.items() if code not in failed}


def _worse_than_another(contents: dict[str, Any]) -> Iterator[Sign]:
    test = contents["test"]
    if test is None:
        return
    for name, counts in test["inner_against"].items():
        missing = counts["worse"] - counts["better"]
        if missing <= 0:
            continue
        title = f"The inner network is worse than the {name} one"
        remedy = (
            "Label more images, or look at the galleries below for wrong labels among "
            "the trusted ones; raise `tau_select` if there are many."
        )
        if name == "supervised":
            remedy += (
                " See whether the unlabeled images show the same classes as the "
                "labeled ones."
            )
        if name == "probe":
            title = "The inner network is worse than the linear probe"
            remedy = "Train for longer"
            if contents["probe"]["enlarges"]:
                size = contents["probe"]["size"]
                remedy += (
                    f", or on larger images (`image_size`), as the probe sees {size} "
                    "pixels"
                )
            remedy += (
                ". Or take the probe, which is `kdfixmatch_keras.baselines.LinearProbe`"
                " with the same backbone and seed; it predicts and exports as this "
                "model does."
            )
        yield {
            "title": title,
            "text": f"It has {missing:,} fewer of the {test['images']:,} test images "
            f"right. {_chance(counts['p_value'])}",
            "remedy": remedy,
        }


def verdict(contents: dict[str, Any]) -> str | None:
    """What a reader has to know first: that something far simpler is better.

    Args:
        contents: What `collect` has gathered.

    Returns:
        A sentence or two, or None where the inner network is not behind the linear
        probe on the test images, or there is no such comparison.
    """
    test = contents["test"]
    if test is None or "probe" not in test["inner_against"]:
        return None
    probe, inner = (test["accuracy"][name]["value"] for name in ("probe", "inner"))
    if probe <= inner:
        return None
    p_value = test["inner_against"]["probe"]["p_value"]
    return (
        "A linear classifier on the frozen features of the backbone is better than "
        f"this model: it recognises {probe:.1%} of the test images, against "
        f"{inner:.1%}. {_chance(p_value)}"
    )


def _chance(p_value: float) -> str:
    if p_value > 0.05:
        return "So small a difference can be chance."
    return "So large a difference is hardly chance."


def _too_few_trusted(contents: dict[str, Any]) -> Iterator[Sign]:
    trusted, names = contents["trusted"], contents["class_names"]
    lower = f"Lower `tau_select`, which is {trusted['tau_select']:g}"
    if not trusted["size"]:
        yield {
            "title": "No image is trusted",
            "text": f"Of {contents['num_unlabeled']:,} unlabeled images "
            f"{trusted['num_confident']:,} were confident enough, and the clustering "
            "agreed with none. The inner network was trained as if by FixMatch alone.",
            "remedy": f"{lower}, or train the outer network longer (`outer_epochs`).",
        }
        return
    absent = [
        f"“{name}”"
        for name, size in zip(names, trusted["per_class"]["trusted"], strict=True)
        if not size
    ]
    if absent:
        yield {
            "title": "Nothing is trusted to be " + _listed(absent, "or"),
            "text": "The inner network learns such classes from their labeled images "
            "and its own guesses alone, and easily takes them for others.",
            "remedy": f"Label more images of these classes. Or: {lower[0].lower()}"
            f"{lower[1:]}, or train the outer network longer (`outer_epochs`).",
        }


def _swallowing(contents: dict[str, Any]) -> Iterator[Sign]:
    per_class = contents["trusted"]["per_class"]
    labeled = _shares(per_class["labeled"])
    predicted = {
        "outer": _shares(per_class["predicted"]),
        "inner": _shares(contents["estimates"]["predicted"]),
    }
    for number, name in enumerate(contents["class_names"]):
        expected = labeled[number]
        limit = swallowing_limit(expected)
        large = {
            network: shares[number]
            for network, shares in predicted.items()
            if shares[number] >= limit
        }
        if large:
            seen = " and ".join(
                f"{share:.0%} (by the {network} network)"
                for network, share in large.items()
            )
            yield {
                "title": f"“{name}” may be swallowing other classes",
                "text": f"Among the unlabeled images, {seen} are taken for it; among "
                f"the labeled ones, {expected:.0%} are of this class. Unless it "
                "really is that frequent, other classes are taken for it.",
                "remedy": "If the labels tell how frequent classes are, train with "
                "`distribution_alignment=True`. Else label more images of the classes "
                "that are taken for it.",
            }


def _without_targets(contents: dict[str, Any]) -> Iterator[Sign]:
    for stage, history in contents["history"].items():
        rates = [rate for rate in history.get("mask_rate", []) if rate is not None]
        if not rates or rates[-1] >= LOW_MASK_RATE:
            continue
        fell = max(rates) >= 10 * LOW_MASK_RATE
        yield {
            "title": f"The {stage} network "
            + ("stopped learning" if fell else "did not learn")
            + " from unlabeled images",
            "text": f"In its last epoch {rates[-1]:.1%} of them had a target"
            + (f", after {max(rates):.0%} at best." if fell else "."),
            "remedy": remedy_for_few_targets(stage),
        }


def _shares(counts: list[int]) -> list[float]:
    total = max(sum(counts), 1)
    return [count / total for count in counts]


def _listed(names: list[str], word: str) -> str:
    if len(names) > MAX_NAMES:
        rest = len(names) - MAX_NAMES
        return f"{', '.join(names[:MAX_NAMES])} {word} {rest:,} other classes"
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} {word} {names[-1]}"
