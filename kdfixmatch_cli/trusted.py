"""`kdfixmatch trusted`: each unlabeled image, and whether it was trusted."""

from pathlib import Path

from kdfixmatch_cli.output import check_file
from kdfixmatch_keras.run_folder import RunFolder


def trusted(run: Path, output: Path, quiet: bool) -> None:
    """Writes the trusted set as a CSV file."""
    check_file(output, ("index,name,pseudo_label,", "index,pseudo_label,"))
    model = RunFolder.open(run).load_model()
    model.trusted_set.to_csv(
        output, names=model.unlabeled_names, class_names=model.class_names
    )
    if not quiet:
        trusted_set = model.trusted_set
        print(
            f"Wrote {output}: {len(trusted_set):,} of {trusted_set.num_unlabeled:,} "
            "unlabeled images are trusted"
        )
