"""The commands and their options. What they do is imported when they are called."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from kdfixmatch_cli.console import accept_all_characters
from kdfixmatch_cli.errors import reported

_BACKEND = (
    "Keras runs on TensorFlow, or on what the environment variable KERAS_BACKEND says: "
    "jax or torch."
)

app = typer.Typer(
    name="kdfixmatch",
    help="Image classifiers from a few labels and many unlabeled images.\n\n"
    "Start with [bold]kdfixmatch demo[/bold], or with your own images: "
    "[bold]kdfixmatch train --help[/bold].",
    epilog=f"{_BACKEND}\n\n"
    "Exit codes: 0 all went well, 1 images, labels, a run or the value of an "
    "option cannot be used, 2 there is no such command or option, 130 interrupted.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="Folder that `train` wrote.", show_default=False
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")
]
OnError = Annotated[
    str,
    typer.Option(
        metavar="[raise|skip]",
        help="What to do with images that cannot be read: stop and name them, or leave "
        "them out and name them.",
    ),
]

IMAGES, LENGTH, METHOD, NETWORK = "Images", "Length", "Method", "Network"


def _option(help: str, panel: str | None = None, **options: Any) -> Any:
    return typer.Option(help=help, rich_help_panel=panel, **options)


def _command(
    example: str, with_keras: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a command of a function, with an example under its help."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        return app.command(epilog=f"{_BACKEND}\n\nExample: [bold]{example}[/bold]")(
            reported(function, with_keras)
        )

    return register


def main() -> None:
    """Runs the command line."""
    # Of help, which comes before any command.
    accept_all_characters()
    app()


@_command(
    "kdfixmatch train --labeled photos/labeled --unlabeled photos/unlabeled --test "
    "photos/test --image-size 96 --epochs 20 --seed 0 --output run"
)
def train(
    context: typer.Context,
    *,
    unlabeled: Annotated[
        Path, _option("Folder of images, flat or nested.", IMAGES, show_default=False)
    ],
    output: Annotated[
        Path,
        _option(
            "Run folder to write; new, or that of a run that was stopped, which then "
            "goes on.",
            show_default=False,
        ),
    ],
    labeled: Annotated[
        Path | None,
        _option("Folder with one sub-folder of images for each class.", IMAGES),
    ] = None,
    labels: Annotated[
        Path | None,
        _option(
            "CSV file with the columns file,label; files relative to --unlabeled, of "
            "which all others are unlabeled. In place of --labeled.",
            IMAGES,
        ),
    ] = None,
    test: Annotated[
        Path | None,
        _option(
            "Labeled folder of test images; they choose nothing, they only measure.",
            IMAGES,
        ),
    ] = None,
    image_size: Annotated[
        str | None,
        _option(
            "Size in pixels that images are resized to: 96, or height x width as "
            "96x128. By default their own, which must then be one.",
            IMAGES,
        ),
    ] = None,
    on_error: OnError = "raise",
    allow_single: Annotated[
        bool,
        typer.Option(
            "--allow-single",
            help="Accept labels in --labels that are used once, as the misspelled are.",
            rich_help_panel=IMAGES,
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        _option(
            "How long all may take; epochs and steps that fit are measured. By default "
            "30, unless one of the next three is given.",
            LENGTH,
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        _option("Epochs of the inner network. By default 100.", LENGTH, min=1),
    ] = None,
    outer_epochs: Annotated[
        int | None,
        _option("Epochs of the outer network. By default half.", LENGTH, min=1),
    ] = None,
    steps_per_epoch: Annotated[
        int | None,
        _option(
            "Batches in an epoch. By default each unlabeled image once.", LENGTH, min=1
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        _option(
            "Labeled images in a batch. By default 64, without a GPU 16.",
            LENGTH,
            show_default=False,
        ),
    ] = None,
    unlabeled_ratio: Annotated[
        int | None,
        _option(
            "Unlabeled images in a batch for each labeled one. By default 7, without a "
            "GPU 4.",
            LENGTH,
            show_default=False,
        ),
    ] = None,
    probe: Annotated[
        bool,
        _option(
            "First classify the frozen features of a pretrained --backbone, to compare "
            "with.",
            LENGTH,
        ),
    ] = True,
    supervised: Annotated[
        bool,
        _option("Also train on the labels alone, to compare with.", LENGTH),
    ] = True,
    backbone: Annotated[
        str,
        _option(
            "A network of keras.applications in lower case, efficientnet_lite0 (or 1, "
            "2), small_cnn, wide_resnet_28_2, or hub: and a preset of KerasHub or its "
            "folder. auto: efficientnetb0 on a GPU, else "
            "efficientnet_lite0, whose weights the extra pretrained brings.",
            NETWORK,
        ),
    ] = "auto",
    weights: Annotated[
        str,
        _option(
            "imagenet, none (random ones), or the path of a weights file.", NETWORK
        ),
    ] = "imagenet",
    pretrained: Annotated[
        bool | None,
        _option(
            "Whether the network starts from trained weights. By default found out.",
            NETWORK,
        ),
    ] = None,
    pixels: Annotated[
        str | None,
        _option(
            "Range of the pixels that the network expects, where it does not tell: tf, "
            "raw, unit_interval, torch or caffe.",
            NETWORK,
        ),
    ] = None,
    embedding_dim: Annotated[
        int,
        _option(
            "Size of the embedding before the logits; 0: the features of the backbone.",
            NETWORK,
            min=0,
        ),
    ] = 256,
    optimizer: Annotated[
        str | None,
        _option(
            "Name of a Keras optimizer, or paper. By default what suits --weights.",
            NETWORK,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, _option("Learning rate of --optimizer.", NETWORK)
    ] = None,
    mixed_precision: Annotated[
        str,
        _option(
            "auto (float16 on a GPU), float32, mixed_float16 or mixed_bfloat16.",
            NETWORK,
        ),
    ] = "auto",
    seed: Annotated[
        int | None, _option("Integer that fixes the run.", NETWORK, min=0)
    ] = None,
    tau: Annotated[
        float,
        _option("Confidence from which the outer network's label counts.", METHOD),
    ] = 0.95,
    tau_select: Annotated[
        float, _option("Confidence from which a label can be trusted.", METHOD)
    ] = 0.80,
    tau_inner: Annotated[
        float, _option("As --tau, for the inner network.", METHOD)
    ] = 0.95,
    unlabeled_loss: Annotated[
        str,
        _option(
            "Loss of the inner network on unlabeled images: ce, sce, gce, mae, nce or "
            "nce_rce.",
            METHOD,
        ),
    ] = "sce",
    lambda_u: Annotated[float, _option("Weight of that loss.", METHOD)] = 1.0,
    clustering: Annotated[
        str,
        _option("What must agree: dec, kmeans, spectral, or none.", METHOD),
    ] = "dec",
    assignment: Annotated[
        str, _option("How clusters get a class: hungarian or majority.", METHOD)
    ] = "hungarian",
    clusters_per_class: Annotated[int, _option("Clusters for each class.", METHOD)] = 1,
    trusted_until: Annotated[
        float,
        _option("Share of the inner training that sees trusted labels.", METHOD),
    ] = 0.5,
    weak_augmentation: Annotated[
        str,
        _option("flip_shift, shift (where mirrored is another), or none.", METHOD),
    ] = "flip_shift",
    strong_augmentation: Annotated[
        str, _option("randaugment or keras_cv.", METHOD)
    ] = "randaugment",
    teacher: Annotated[
        str, _option("Where targets come from: ema or shared.", METHOD)
    ] = "ema",
    ema_decay: Annotated[
        float, _option("Decay of the teacher's average per step.", METHOD)
    ] = 0.999,
    threshold: Annotated[
        str,
        _option(
            "Whose labels count in the outer network: fixed, flexmatch, freematch or "
            "softmatch.",
            METHOD,
        ),
    ] = "fixed",
    inner_threshold: Annotated[
        str, _option("As --threshold, for the inner network.", METHOD)
    ] = "flexmatch",
    distribution_alignment: Annotated[
        bool,
        _option("Whether classes are as frequent as among the labels.", METHOD),
    ] = False,
    inner_init: Annotated[
        str,
        _option("What the inner network starts from: shrunk, fresh or outer.", METHOD),
    ] = "shrunk",
    finetune: Annotated[
        str,
        _option(
            "What is trained: all layers, or the head on stored features of the "
            "backbone, which takes less time and learns less.",
            NETWORK,
        ),
    ] = "all",
    outer_backbone: Annotated[
        str | None,
        _option(
            "Another --backbone for the outer network, usually a larger one; with "
            "--inner-init fresh.",
            NETWORK,
            show_default=False,
        ),
    ] = None,
    continue_from: Annotated[
        Path | None,
        _option(
            "Run folder of an earlier training, with fewer labels or classes, whose "
            "networks this one starts from; classes are matched by name. Other options "
            "are those of that run where they are not given.",
            NETWORK,
            metavar="RUN",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check and count everything, estimate the time, write nothing.",
        ),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart",
            help="Start over; what is in --output is kept under another name.",
        ),
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a classifier on labeled and unlabeled images."""
    # Before anything else is a local variable here.
    options = dict(locals())
    from kdfixmatch_cli.train import train

    given = {
        name
        for name in options
        if (source := context.get_parameter_source(name)) and source.name != "DEFAULT"
    }
    train(options, given)


@_command(
    "kdfixmatch audit --labeled photos/labeled --unlabeled photos/unlabeled --test "
    "photos/test --output findings.csv"
)
def audit(
    *,
    unlabeled: Annotated[
        Path, _option("Folder of images, flat or nested.", IMAGES, show_default=False)
    ],
    labeled: Annotated[
        Path | None,
        _option("Folder with one sub-folder of images for each class.", IMAGES),
    ] = None,
    labels: Annotated[
        Path | None,
        _option("CSV file with the columns file,label; see `train`.", IMAGES),
    ] = None,
    test: Annotated[
        Path | None, _option("Labeled folder of test images.", IMAGES)
    ] = None,
    image_size: Annotated[
        str | None,
        _option("Size in pixels that images are compared in; see `train`.", IMAGES),
    ] = "96",
    on_error: OnError = "raise",
    allow_single: Annotated[
        bool,
        typer.Option(
            "--allow-single",
            help="Accept labels in --labels that are used once, as the misspelled are.",
            rich_help_panel=IMAGES,
        ),
    ] = False,
    output: Annotated[Path, _option("CSV file to write.")] = Path("findings.csv"),
    backbone: Annotated[
        str, _option("The pretrained network; see `train`.", NETWORK)
    ] = "auto",
    weights: Annotated[
        str, _option("imagenet, or the path of a weights file.", NETWORK)
    ] = "imagenet",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Look for copies, doubtful labels and useless images; changes nothing."""
    options = dict(locals())
    from kdfixmatch_cli.audit import run

    run(options)


@_command("kdfixmatch suggest --unlabeled photos --count 24 --output to_label.csv")
def suggest(
    *,
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]",
            help="Folder that `train` wrote, whose networks are asked. By default a "
            "pretrained network.",
            show_default=False,
        ),
    ] = None,
    unlabeled: Annotated[
        Path | None,
        _option(
            "Folder of images to choose from, flat or nested. By default that of RUN.",
            IMAGES,
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        _option(
            "CSV file with the columns file,label of the images that are labeled, "
            "relative to --unlabeled. By default that of RUN.",
            IMAGES,
            show_default=False,
        ),
    ] = None,
    labeled: Annotated[
        Path | None,
        _option(
            "Folder with one sub-folder of labeled images for each class. By default "
            "that of RUN.",
            IMAGES,
            show_default=False,
        ),
    ] = None,
    test: Annotated[
        Path | None,
        _option(
            "Folder of test images, which are not suggested, and their copies neither. "
            "By default that of RUN.",
            IMAGES,
            show_default=False,
        ),
    ] = None,
    on_error: OnError = "raise",
    count: Annotated[int, _option("How many images to suggest.", min=1)] = 24,
    output: Annotated[Path, _option("CSV file to write.")] = Path("to_label.csv"),
    strategy: Annotated[
        str,
        _option(
            "typical (many others resemble them), doubtful (for the classifier), mixed "
            "(from typical to doubtful as labels grow) or random."
        ),
    ] = "mixed",
    backbone: Annotated[
        str,
        _option(
            "Without RUN, the pretrained network; see `train`.",
            NETWORK,
        ),
    ] = "auto",
    weights: Annotated[
        str, _option("imagenet, or the path of a weights file.", NETWORK)
    ] = "imagenet",
    seed: Annotated[int, _option("Integer that fixes the choice.", min=0)] = 0,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List which images to label next; writes file, reason, guess and confidence."""
    options = dict(locals())
    from kdfixmatch_cli.suggest import suggest

    suggest(options)


@_command("kdfixmatch predict run photos/new 'more/*.jpg' --output predictions.csv")
def predict(
    *,
    run: Run,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES",
            help="Folders, files, or patterns in quotes.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, _option("CSV file to write.")] = Path("predictions.csv"),
    all_classes: Annotated[
        bool, typer.Option("--all", help="A column with the probability of each class.")
    ] = False,
    on_error: OnError = "raise",
    batch_size: Annotated[int, _option("Images in a forward pass.", min=1)] = 256,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Classify any number of images; writes file, class and confidence."""
    from kdfixmatch_cli.predict import predict

    predict(run, images, output, all_classes, on_error, batch_size, quiet)


@_command("kdfixmatch evaluate run --data photos/test")
def evaluate(
    *,
    run: Run,
    data: Annotated[
        Path,
        _option(
            "Folder with one sub-folder of images for each class.", show_default=False
        ),
    ],
    on_error: OnError = "raise",
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of tables.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Measure a trained model on labeled images.

    Prints accuracy, calibration error, precision, recall and F1 of each class, and the
    confusion matrix.
    """
    from kdfixmatch_cli.evaluate import evaluate

    evaluate(run, data, on_error, json)


@_command("kdfixmatch export run --format onnx --output model.onnx")
def export(
    *,
    run: Run,
    output: Annotated[
        Path, _option("Folder (saved_model) or file (onnx) to write; must be new.")
    ],
    format: Annotated[
        str, _option("What to write.", metavar="[saved_model|onnx]")
    ] = "saved_model",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a trained model for serving, class names included."""
    from kdfixmatch_cli.export import export

    export(run, output, format, quiet)


@_command("kdfixmatch report run --output report.html")
def report(
    *,
    run: Run,
    output: Annotated[
        Path | None,
        _option("HTML file to write. By default report.html in the run."),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the report of a run again, as one HTML page.

    `train` has written it already, with what it needs beside it; the images can be
    gone.
    """
    from kdfixmatch_cli.report import report

    report(run, output, quiet)


@_command("kdfixmatch trusted run --output trusted.csv")
def trusted(
    *,
    run: Run,
    output: Annotated[Path, _option("CSV file to write.")] = Path("trusted.csv"),
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List each unlabeled image: its pseudo-label, and whether or why not trusted."""
    from kdfixmatch_cli.trusted import trusted

    trusted(run, output, quiet)


@_command(
    "kdfixmatch label --unlabeled photos/unlabeled --labels labels.csv",
    with_keras=False,
)
def label(
    *,
    unlabeled: Annotated[
        Path, _option("Folder of images, flat or nested.", show_default=False)
    ],
    labels: Annotated[
        Path,
        _option(
            "CSV file with the columns file,label, which `train --labels` reads; it "
            "need not exist. Not in --unlabeled.",
            show_default=False,
        ),
    ],
    run: Annotated[
        Path | None,
        _option("Folder that `train` wrote, whose guesses the page shows."),
    ] = None,
    test: Annotated[
        Path | None,
        _option("Labeled folder that trainings started from the page are measured on."),
    ] = None,
    train_options: Annotated[
        str,
        _option(
            "Options of `kdfixmatch train` for trainings started from the page, in "
            "quotes.",
        ),
    ] = "",
    suggest: Annotated[
        bool,
        _option(
            "Whether `kdfixmatch suggest` looks for typical images where there is no "
            "run yet. Until it has found some, they come in the order of their names."
        ),
    ] = True,
    host: Annotated[
        str,
        _option(
            "Name or address of this machine to listen at. By default only this "
            "machine reaches the page; with another, whoever learns its address can "
            "see and label the images, and nothing that is sent is encrypted."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, _option("Port to listen at; 0 takes a free one.", min=0, max=65535)
    ] = 0,
    browser: Annotated[
        bool, _option("Whether to open the page in a browser where there is one.")
    ] = True,
    taken: Annotated[
        Path | None,
        typer.Option(
            "--import",
            help="JSON file that Label Studio exported, whose labels are taken in "
            "first.",
            show_default=False,
        ),
    ] = None,
    given: Annotated[
        Path | None,
        typer.Option(
            "--export",
            help="Write the labels, and end: a file named .json for Label Studio, or a "
            "folder with one sub-folder of images for each class.",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Label images in a browser, on this machine alone.

    Each label is in the file before the next image shows. Ctrl+C ends the page. Images,
    labels and what is trained stay on this machine.
    """
    from kdfixmatch_cli.label import label

    label(
        unlabeled,
        labels,
        *(run, test, train_options, suggest),
        *(host, port, browser),
        *(taken, given),
    )


@_command("kdfixmatch demo --output demo_run")
def demo(
    *,
    output: Annotated[Path, _option("Run folder to write.")] = Path("demo_run"),
    epochs: Annotated[int, _option("Epochs of the inner network.", min=1)] = 12,
    steps_per_epoch: Annotated[int, _option("Batches in an epoch.", min=1)] = 40,
    seed: Annotated[int, _option("Integer that fixes the run.", min=0)] = 0,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train on 20 labeled digits, in two minutes and without a download."""
    from kdfixmatch_cli.train import demo

    demo(output, epochs, steps_per_epoch, seed, quiet)
