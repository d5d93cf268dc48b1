"""Bad inputs of the method, the losses and the data sets."""

import keras
import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras import (
    FixMatch,
    clustering,
    datasets,
    losses,
    thresholds,
)
from kdfixmatch_keras.training.plan import Plan
from tests.bad_inputs import (
    CLASSES,
    IMAGES,
    INFINITY,
    LABELS,
    NAN,
    backbone,
    check_refusal,
    dataset,
    fit,
    integer,
    network,
    new_model,
    of_rows,
    threes,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")


class Scaled(keras.optimizers.SGD):
    """Keeps an argument that its configuration does not tell of."""

    def __init__(self, learning_rate=0.1, factor=1.0, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.factor = factor


class Forgetful(keras.layers.Layer):
    """The same, and has a state."""

    def __init__(self, amount=0, **kwargs):
        super().__init__(**kwargs)
        self.amount = amount
        self.draws = keras.random.SeedGenerator(0)

    def call(self, images):
        return images + self.amount

    def get_config(self):
        return {"name": self.name}


CONSTRUCTOR_ROWS = [
    ("embedding_dim", 0, integer("embedding_dim", 1, 0)),
    ("embedding_dim", "8", integer("embedding_dim", 1, "'8'")),
    ("tau", 1.5, "`tau` must be in [0, 1]. Received: tau=1.5"),
    ("tau", "0.9", "`tau` must be in [0, 1]. Received: tau='0.9'"),
    ("tau", True, "`tau` must be in [0, 1]. Received: tau=True"),
    ("tau_select", NAN, "`tau_select` must be in [0, 1]. Received: tau_select=nan"),
    ("tau_inner", -0.1, "`tau_inner` must be in [0, 1]. Received: tau_inner=-0.1"),
    (
        "lambda_u",
        INFINITY,
        "`lambda_u` must be in [0, infinity). Received: lambda_u=inf",
    ),
    ("batch_size", True, integer("batch_size", 1, True)),
    ("batch_size", 2.5, integer("batch_size", 1, 2.5)),
    ("unlabeled_ratio", 0, integer("unlabeled_ratio", 1, 0)),
    ("clusters_per_class", 1.5, integer("clusters_per_class", 1, 1.5)),
    (
        "trusted_until",
        2,
        "`trusted_until` must be in [0, 1]. Received: trusted_until=2",
    ),
    ("ema_decay", 1.0, "`ema_decay` must be in [0, 1). Received: ema_decay=1.0"),
    ("seed", -1, integer("seed", 0, -1)),
    ("seed", 1.5, integer("seed", 0, 1.5)),
    (
        "image_size",
        8,
        "`image_size` must be two positive integers, (height, width), or None for the "
        "size of the data. Received: image_size=8",
    ),
    ("image_size", (8.0, 8), "Received: image_size=(8.0, 8)"),
    (
        "weights",
        "gone.h5",
        '`weights` must be None, "imagenet" or the path of a weights',
    ),
    ("unlabeled_loss", "scce", "Received: unlabeled_loss='scce'. Did you mean 'sce'?"),
    (
        "unlabeled_loss",
        keras.losses.MeanSquaredError(),
        "`unlabeled_loss` must take integer labels (n,) and logits (n, K) and give one "
        "value per sample",
    ),
    ("clustering", "kmean", "or an object with `fit_predict`. Received: clustering="),
    (
        "assignment",
        "hungary",
        "`assignment` must be one of 'majority', 'hungarian'. Received: "
        "assignment='hungary'. Did you mean 'hungarian'?",
    ),
    (
        "weak_augmentation",
        "flip-shift",
        "`weak_augmentation` must be one of 'flip_shift', 'shift', 'none' or a "
        "`keras.layers.Layer`. Received: weak_augmentation='flip-shift'. Did you mean "
        "'flip_shift'?",
    ),
    (
        "teacher",
        None,
        "`teacher` must be one of 'ema', 'shared'. Received: teacher=None",
    ),
    ("threshold", "flex", "Received: threshold='flex'. Did you mean 'flexmatch'?"),
    ("inner_threshold", 0.9, "`inner_threshold` must be one of 'fixed', 'flexmatch'"),
    ("inner_init", "shrink", "Received: inner_init='shrink'. Did you mean 'shrunk'?"),
    (
        "outer_backbone",
        "small_cnn",
        "`inner_init` must be 'fresh' where `outer_backbone` is given, as the weights "
        "of both networks differ. Received: inner_init='shrunk'",
    ),
    ("finetune", "haed", "Received: finetune='haed'. Did you mean 'head'?"),
    (
        "finetune",
        "head",
        '`finetune` must be "all" where the backbone has random weights, whose '
        "features mean nothing. Received: finetune='head'",
    ),
    ("outer_backbone", "smal_cnn", "Received: outer_backbone='smal_cnn'. Did you mean"),
    (
        "mixed_precision",
        "float16",
        "`mixed_precision` must be one of 'auto', 'float32'",
    ),
    ("optimizer", "adm", "a Keras optimizer. Received: optimizer='adm'. Did you mean"),
    (
        "optimizer",
        Scaled(factor=2.0),
        "`optimizer` must be something that can be made again, as each network gets "
        "its own. Received: ",
    ),
    (
        "strong_augmentation",
        Forgetful(5),
        "(a copy has amount=0 in place of 5). Its `get_config` must return every argum",
    ),
    (
        "weak_augmentation",
        keras.layers.RandomFlip(data_format="channels_first"),
        "`weak_augmentation` must take images with the channels last. Received: Random",
    ),
    (
        "backbone",
        keras.Sequential([keras.Input((3, 8, 8)), keras.layers.Flatten()]),
        "`backbone` must take pixels, and give a feature map, with the channels last",
    ),
    (
        "backbone",
        keras.Sequential([keras.Input((8, 8, 3)), Forgetful(5)]),
        "`backbone` must be something that can be made again",
    ),
    ("pixels", "torhc", "Received: pixels='torhc'. Did you mean 'torch'?"),
    (
        "backbone",
        "smal_cnn",
        "Received: backbone='smal_cnn'. Did you mean 'small_cnn'?",
    ),
]

TYPE_ROWS = [
    (
        "distribution_alignment",
        "no",
        "`distribution_alignment` must be True or False. Received: "
        "distribution_alignment='no'",
    ),
    (
        "clustering",
        clustering.KMeans,
        "`clustering` must be a name or an object with `fit_predict(z)`. Pass an "
        "object rather than its class. Received: clustering=<class",
    ),
    (
        "unlabeled_loss",
        losses.CrossEntropy,
        "`unlabeled_loss` must be a name or a `keras.losses.Loss` object. Pass an "
        "object rather than its class",
    ),
    (
        "weak_augmentation",
        np.flip,
        "`weak_augmentation` must be a name or a `keras.layers.Layer`. Received: weak_"
        "augmentation=",
    ),
    (
        "strong_augmentation",
        lambda images: images,
        "(of type function). Pass keras.layers.Lambda(function)",
    ),
    (
        "strong_augmentation",
        None,
        "`strong_augmentation` must be a name or a `keras.layers.Layer`. Received: "
        "strong_augmentation=None",
    ),
    (
        "threshold",
        keras.layers.Dense(2),
        "`threshold` must have a method `auxiliary_loss`, as `thresholds.Threshold` "
        "has",
    ),
    (
        "optimizer",
        keras.optimizers.Adam,
        "`optimizer` must be None, a name or a Keras optimizer. Received: "
        "optimizer=<cl",
    ),
    (
        "pretrained",
        "yes",
        "`pretrained` must be True, False or None. Received: pretrained='yes'",
    ),
    (
        "backbone",
        5,
        "`backbone` must be a name, a keras.Model or a callable (input_shape) -> "
        "keras.Model. Received: backbone=5",
    ),
    (
        "backbone",
        lambda: None,
        "`backbone` must take one argument, the input shape. Received: backbone=",
    ),
]

FIT_ROWS = [
    (
        lambda g: fit((IMAGES, np.eye(3)[LABELS])),
        ValueError,
        "`labeled` must hold one integer label an image, not one-hot rows. Received: "
        "labels of shape=(12, 3). Convert an array with `y.argmax(axis=-1)`",
    ),
    (
        lambda g: fit((IMAGES, LABELS.astype(float))),
        ValueError,
        "`labeled` must hold integer labels. Received: labels of dtype=float64. "
        "Convert "
        'whole numbers with `y.astype("int64")`, in a tf.data.Dataset with',
    ),
    (
        lambda g: fit((IMAGES, np.array(CLASSES)[LABELS])),
        ValueError,
        "Number class names with `names, y = np.unique(y, return_inverse=True)`",
    ),
    (
        lambda g: fit((IMAGES, LABELS - 1)),
        ValueError,
        "Received: a label of -1. Images without a label belong to the unlabeled data",
    ),
    (
        lambda g: fit((IMAGES, LABELS * 2)),
        ValueError,
        "Received: labels up to 4, but classes 1, 3 have no labeled image. Renumber",
    ),
    (
        lambda g: fit((IMAGES, LABELS * 0)),
        ValueError,
        "`labeled` must hold images of at least two classes. Received: only the label "
        "0",
    ),
    (
        lambda g: fit((IMAGES, LABELS[:-1])),
        ValueError,
        "`labeled` must hold as many labels as images. Received: len(x)=12, len(y)=11",
    ),
    (
        lambda g: fit((IMAGES / 255, LABELS)),
        ValueError,
        "`labeled` must hold uint8 images. Received: dtype=float64, pixels from 0 to "
        "1. Pixels in [0, 1] are converted by `(images * 255).round().clip(0, 255)"
        '.astype("uint8")`.',
    ),
    (
        lambda g: fit((IMAGES.transpose(0, 3, 1, 2), LABELS)),
        ValueError,
        "Received: shape=(12, 3, 8, 8). Move the channels last with `images.transpose",
    ),
    (
        lambda g: fit([IMAGES, LABELS]),
        TypeError,
        "`labeled` must be a tuple (x, y) of arrays, or of a list of paths and an "
        "array, a tf.data.Dataset of (image, label), the path of a folder with one "
        "sub-folder per class, or LabeledImages. Received: type=list. Pass a tuple",
    ),
    (
        lambda g: fit("labelled"),
        ValueError,
        "`labeled` must be an existing folder. Received: labeled='labelled' (there is "
        "no such folder)",
    ),
    (
        lambda g: fit(g.here / "file"),
        ValueError,
        "Received: labeled='{here}/file' (it is a file)",
    ),
    (
        lambda g: fit(g.here / "unlabeled"),
        ValueError,
        "which has no sub-folders",
    ),
    (
        lambda g: fit(unlabeled=(IMAGES, LABELS)),
        TypeError,
        "`unlabeled` must be a NumPy array or memmap of images, a tf.data.Dataset of "
        "images, the path of a folder, a list of paths, or an ImageSource. Received: "
        "type=tuple of 2",
    ),
    (
        lambda g: fit(unlabeled=IMAGES[:0]),
        ValueError,
        "`unlabeled` must hold at least one image. Received: shape=(0, 8, 8, 3)",
    ),
    (
        lambda g: fit(unlabeled=IMAGES[:, :4]),
        ValueError,
        "`unlabeled` must have images of the shape of `labeled`, (8, 8, 3). Received: "
        "(4, 8, 3). Pass image_size=(H, W) to resize all images to one size.",
    ),
    (
        lambda g: fit(validation_data=(IMAGES, LABELS + 1)),
        ValueError,
        "`validation_data` must hold labels in [0, 3), as there are 3 classes",
    ),
    (
        lambda g: fit(g.here / "labeled", validation_data=g.here / "other_classes"),
        ValueError,
        "`validation_data` must have sub-folders named as the classes ['blue', "
        "'green', 'red']. Received: also yellow",
    ),
    (
        lambda g: fit(validation_data=(IMAGES, LABELS)),
        ValueError,
        "`validation_data` must hold images that are not labeled for training, or it "
        "measures nothing. Received: 12 of 12 with the content of labeled images.",
    ),
    (
        lambda g: fit(on_error="ignore"),
        ValueError,
        "`on_error` must be one of 'raise', 'skip'. Received: on_error='ignore'",
    ),
    (
        lambda g: fit(unlabeled=[g.here / "unlabeled" / "0.png", g.here / "gone.png"]),
        ValueError,
        "Received: 1 that cannot be read: {here}/gone.png (no such file). Repair or "
        "remove them, or leave them out with on_error='skip'.",
    ),
    (
        lambda g: fit(validation_data=0.2),
        TypeError,
        "`validation_data` must be a tuple (x, y) of arrays",
    ),
    (lambda g: fit(epochs=0), ValueError, integer("epochs", 1, 0)),
    (lambda g: fit(epochs=True), ValueError, integer("epochs", 1, True)),
    (
        lambda g: fit(minutes=0),
        ValueError,
        "`minutes` must be in (0, inf). Received: minutes=0",
    ),
    (
        lambda g: fit(minutes=1, epochs=2),
        ValueError,
        "`epochs` must be None where `minutes` are given, which say how long to train. "
        "Received: epochs=2",
    ),
    (lambda g: fit(outer_epochs=2.5), ValueError, integer("outer_epochs", 1, 2.5)),
    (
        lambda g: fit(steps_per_epoch="9"),
        ValueError,
        integer("steps_per_epoch", 1, "'9'"),
    ),
    (
        lambda g: fit(callbacks=keras.callbacks.TerminateOnNaN()),
        TypeError,
        "`callbacks` must be a list of Keras callbacks, objects and not their classes. "
        "Received: callbacks=<keras",
    ),
    (
        lambda g: fit(callbacks=[keras.callbacks.TerminateOnNaN]),
        TypeError,
        "objects and not their classes. Received: callbacks=[<class",
    ),
    (
        lambda g: fit(callbacks=[keras.callbacks.EarlyStopping("val_accuracy")]),
        ValueError,
        "`callbacks` must monitor what is measured. Received: EarlyStopping(monitor="
        "'val_accuracy'). Pass validation_data, or monitor='loss'.",
    ),
    (
        lambda g: fit(
            callbacks={"inner": [keras.callbacks.ReduceLROnPlateau("loss")]},
            run_dir=g.here / "new",
        ),
        ValueError,
        "`callbacks` must not set the learning rate where it follows a schedule, as "
        "that of the default optimizer does. Received: ReduceLROnPlateau. Pass an `opt",
    ),
    (
        lambda g: fit(callbacks=[keras.callbacks.BackupAndRestore(g.here / "new")]),
        ValueError,
        "Received: BackupAndRestore. Pass run_dir=<folder>",
    ),
    (
        lambda g: fit(callbacks={"iner": []}),
        ValueError,
        "`callbacks` must be one of 'outer', 'inner'. Received: callbacks='iner'. Did "
        "you mean 'inner'?",
    ),
    (
        lambda g: fit(verbose="loud"),
        ValueError,
        '`verbose` must be "auto", 0 (silent), 1 (a progress bar) or 2 (a line an '
        "epoch)"
        ". Received: verbose='loud'",
    ),
    (
        lambda g: fit(outer=g.model, outer_epochs=None),
        TypeError,
        "`outer` must be a FixMatch network. Received: outer of type KDFixMatch",
    ),
    (
        lambda g: fit(outer=g.model.outer),
        ValueError,
        "`outer_epochs` must be None where `outer` is given, as it is not trained "
        "again",
    ),
    (
        lambda g: fit(outer=network(classes=4), outer_epochs=None),
        ValueError,
        "`outer` must take images of shape (8, 8, 3) and know 3 classes. Received: (8, "
        "8, 3) and 4",
    ),
    (
        lambda g: fit(outer=g.model.outer, outer_epochs=None, continue_from=g.model),
        ValueError,
        "`outer` must be None where `continue_from` is given, which has an outer "
        "network. Received: outer='fixmatch_outer'",
    ),
    (
        lambda g: fit(continue_from=g.model.inner),
        TypeError,
        "`continue_from` must be a trained KDFixMatch, or the path of a saved one or "
        "of a run. Received: continue_from of type FixMatch",
    ),
    (
        lambda g: fit(continue_from=new_model()),
        ValueError,
        "`continue_from` must be a trained KDFixMatch. Received: one before `fit`",
    ),
    (
        lambda g: fit(continue_from=g.here / "other", run_dir=g.here / "new"),
        ValueError,
        "`continue_from` must be a model that KDFixMatch.save wrote, and unchanged. "
        "Received: continue_from='{here}/other' (no SHA256SUMS in it)",
    ),
    (
        lambda g: fit(run_dir=5),
        TypeError,
        "`run_dir` must be a path, a string or a `pathlib.Path`. Received: run_dir=5",
    ),
    (
        lambda g: fit(run_dir=""),
        ValueError,
        "`run_dir` must be a path. Received: run_dir=''",
    ),
    (
        lambda g: fit(run_dir=g.here / "state.h5"),
        ValueError,
        "`run_dir` must be a folder that is not named like a file. Received: run_dir='",
    ),
    (
        lambda g: fit(run_dir=g.here / "other"),
        ValueError,
        "`run_dir` must be a new or an empty folder, or that of a training to go on "
        "with. Received: run_dir='{here}/other', which holds something else",
    ),
    (
        lambda g: fit(run_dir=g.here / "file" / "run"),
        ValueError,
        "`run_dir` must lie in a folder. Received: {here}/file/run, and {here}/file is "
        "not a folder",
    ),
    (
        lambda g: fit(model=new_model(backbone=lambda shape: 5)),
        TypeError,
        "`backbone` must return a keras.Model for an input shape. Received: 5",
    ),
    (
        lambda g: fit(model=new_model(backbone=backbone((16, 16, 3)))),
        ValueError,
        "`backbone` must take pixels of shape (8, 8, 3), that of the images. Received: "
        "a model of input_shape=(None, 16, 16, 3). Pass image_size=(H, W) to resize",
    ),
    (
        lambda g: fit(
            model=new_model(threshold=thresholds.FlexMatchThreshold(0.9, 3, 7))
        ),
        ValueError,
        "`threshold` must be made for the data: num_unlabeled=12. Received: a layer "
        "with num_unlabeled=7",
    ),
    (
        lambda g: fit(
            model=new_model(strong_augmentation=keras.layers.Rescaling(1 / 255))
        ),
        ValueError,
        "`strong_augmentation` must return pixels in [0, 255] that keep the contrast "
        "of images. Received: a Rescaling, which makes pixels from 0 to 1 of",
    ),
    (
        lambda g: fit(model=new_model(weak_augmentation=keras.layers.Resizing(4, 4))),
        ValueError,
        "`weak_augmentation` must return images of the shape it is given, (8, 8, 3). "
        "Received: (4, 4, 3)",
    ),
]

ROWS = [
    *(
        (
            "KDFixMatch",
            lambda g, n=name, v=value: new_model(**{n: v}),
            ValueError,
            words,
        )
        for name, value, words in CONSTRUCTOR_ROWS
    ),
    *(
        ("KDFixMatch", lambda g, n=name, v=value: new_model(**{n: v}), TypeError, words)
        for name, value, words in TYPE_ROWS
    ),
    *(("KDFixMatch.fit", *row) for row in FIT_ROWS),
    (
        "ImageClassifier.predict",
        lambda g: new_model().predict(IMAGES),
        RuntimeError,
        "This KDFixMatch has no network yet. Call `fit` first, or `load` a saved "
        "model.",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(IMAGES.astype("float32")),
        ValueError,
        "`images` must hold uint8 images. Received: dtype=float32, pixels from 0 to "
        "255. Pixels in [0, 255] are converted by `images.round().clip(0, 255)",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(IMAGES[0]),
        ValueError,
        "Received: shape=(8, 8, 3), which looks like one image of shape (height, "
        "width, channels): pass `image[None]`. If it is 8 gray images, pass "
        "`images[..., None]`.",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(IMAGES[0, ..., :1]),
        ValueError,
        "Received: shape=(8, 8, 1), which looks like one image of shape (height, "
        "width, channels): pass `image[None]`.",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(IMAGES[0].transpose(2, 0, 1)),
        ValueError,
        "Received: shape=(3, 8, 8), which looks like one image of shape (channels, "
        "height, width): pass `image.transpose(1, 2, 0)[None]`. If it is 3 gray ",
    ),
    (
        "ImageClassifier.evaluate",
        lambda g: g.model.evaluate(IMAGES[0], 2),
        ValueError,
        "`images` must hold images of shape (N, H, W) or (N, H, W, C). Received: "
        "shape=(8, 8, 3), which looks like one image",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(IMAGES[0, ..., 0]),
        ValueError,
        "Received: shape=(8, 8). A single image is `image[None]`.",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(list(IMAGES)),
        TypeError,
        "or an ImageSource. Received: type=list of arrays. Make one array of them with "
        "`np.stack(images)`.",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(IMAGES, batch_size=0),
        ValueError,
        integer("batch_size", 1, 0),
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(IMAGES, verbose=3),
        ValueError,
        "2 (a line an epoch). Received: verbose=3",
    ),
    (
        "ImageClassifier.evaluate",
        lambda g: g.model.evaluate(IMAGES),
        TypeError,
        "`images` must be a tuple (x, y) of arrays",
    ),
    (
        "ImageClassifier.evaluate",
        lambda g: g.model.evaluate(IMAGES, LABELS + 1),
        ValueError,
        "`images` must hold labels in [0, 3), as there are 3 classes. Received: labels "
        "from 1 to 3",
    ),
    (
        "ImageClassifier.evaluate",
        lambda g: g.model.evaluate(g.here / "other_classes"),
        ValueError,
        "`images` must have sub-folders named as the classes",
    ),
    (
        "ImageClassifier.evaluate",
        lambda g: new_model().evaluate(IMAGES, LABELS),
        RuntimeError,
        "Call `fit` first",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(g.here.rglob("*.png")),
        TypeError,
        ". Of paths, pass `sorted(paths)`.",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict([]),
        ValueError,
        "`images` must hold at least one image",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict([g.here / "unlabeled"], on_error="skip"),
        ValueError,
        "Received: 1 that cannot be read: {here}/unlabeled (it is a folder).",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(g.here / "unlabeled", on_error="warn"),
        ValueError,
        "`on_error` must be one of 'raise', 'skip'. Received: on_error='warn'",
    ),
    (
        "ImageClassifier.evaluate",
        lambda g: g.model.evaluate(IMAGES[:2], ["red", "green"]),
        ValueError,
        "Number class names with `[class_names.index(name) for name in y]`.",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(Image.fromarray(IMAGES[0])),
        TypeError,
        "Received: type=Image. Convert it with `np.asarray(image)[None]`.",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict([Image.fromarray(IMAGES[0])]),
        TypeError,
        "them with `np.stack([np.asarray(image) for image in images])`.",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(dataset(IMAGES[0])),
        ValueError,
        "If they are the rows of one image, it is a dataset by "
        "`tf.data.Dataset.from_tensors(image)`.",
    ),
    (
        "ImageClassifier.evaluate",
        lambda g: g.model.evaluate([g.here / "unlabeled" / "0.png"], [0, 1]),
        ValueError,
        "`images` must hold as many labels as images. Received: len(x)=1, len(y)=2",
    ),
    (
        "ImageClassifier.load_images",
        lambda g: g.model.load_images(g.here / "gone"),
        ValueError,
        "`images` must be an existing folder. Received: images='{here}/gone'",
    ),
    (
        "ImageClassifier.load_images",
        lambda g: new_model().load_images(IMAGES),
        RuntimeError,
        "Call `fit` first",
    ),
    (
        "ImageClassifier.check_training",
        lambda g: new_model().check_training(
            Plan(callbacks=[keras.callbacks.EarlyStopping()]), None
        ),
        ValueError,
        "Received: EarlyStopping(monitor='val_loss'). Pass validation_data, or monitor",
    ),
    (
        "ImageClassifier.load_data",
        lambda g: new_model().load_data((IMAGES, LABELS), None),
        TypeError,
        "`unlabeled` must be a NumPy array or memmap of images",
    ),
    (
        "FixMatch",
        lambda g: FixMatch("small_cnn"),
        TypeError,
        "`student` must be a keras.Model, as `backbones.build_network` makes it. "
        "Received: student='small_cnn'",
    ),
    (
        "FixMatch",
        lambda g: FixMatch(keras.Sequential([keras.layers.Dense(3)])),
        ValueError,
        '`student` must have a layer named "embedding" before its logits. Received: ',
    ),
    (
        "FixMatch",
        lambda g: network(class_distribution=[0.5, 0.5]),
        ValueError,
        "`class_distribution` must have 3 numbers, one for each class. Received: [0.5, "
        "0.5]",
    ),
    (
        "FixMatch",
        lambda g: network(dtype="mixed_float16"),
        ValueError,
        "Received: 'float32' and 'mixed_float16'. Pass dtype='float32'.",
    ),
    (
        "FixMatch",
        lambda g: network(num_unlabeled=-1),
        ValueError,
        integer("num_unlabeled", 1, -1),
    ),
    (
        "FixMatch",
        lambda g: network()(IMAGES / 255),
        ValueError,
        "`images` must be uint8. Received: images.dtype=float32",
    ),
    (
        "FixMatch.start_from",
        lambda g: network().start_from(network(classes=4)),
        ValueError,
        "`other` must have the architecture of this network, as its weights are taken "
        "over. Received: weights of other shapes",
    ),
    (
        "FixMatch.start_from",
        lambda g: network().start_from(g.model),
        TypeError,
        "`other` must be a FixMatch network. Received: other of type KDFixMatch",
    ),
    (
        "losses.CrossEntropy",
        lambda g: losses.CrossEntropy(from_logits="no"),
        TypeError,
        "`from_logits` must be True or False. Received: from_logits='no'",
    ),
    (
        "losses.CrossEntropy",
        lambda g: losses.CrossEntropy(reduction="avg"),
        ValueError,
        "`reduction` must be one of 'sum_over_batch_size', 'mean', 'sum'",
    ),
    (
        "losses.SymmetricCrossEntropy",
        lambda g: losses.SymmetricCrossEntropy(alpha=-1),
        ValueError,
        "`alpha` must be in [0, infinity). Received: alpha=-1",
    ),
    (
        "losses.SymmetricCrossEntropy",
        lambda g: losses.SymmetricCrossEntropy(0, 0),
        ValueError,
        "`alpha` or `beta` must be positive: with both at zero nothing is learned. "
        "Received: alpha=0, beta=0",
    ),
    (
        "losses.GeneralizedCrossEntropy",
        lambda g: losses.GeneralizedCrossEntropy(q=0),
        ValueError,
        "`q` must be in (0, 1]. Received: q=0",
    ),
    (
        "losses.MeanAbsoluteError",
        lambda g: losses.MeanAbsoluteError(reduction=0),
        ValueError,
        "Received: reduction=0",
    ),
    (
        "losses.NormalizedCrossEntropy",
        lambda g: losses.NormalizedCrossEntropy(from_logits=None),
        TypeError,
        "`from_logits` must be True or False. Received: from_logits=None",
    ),
    (
        "losses.NormalizedCrossEntropyPlusReverse",
        lambda g: losses.NormalizedCrossEntropyPlusReverse(clip=1),
        ValueError,
        "`clip` must be in (0, 1). Received: clip=1",
    ),
    (
        "losses.CrossEntropy",
        lambda g: losses.CrossEntropy()(np.eye(3), np.eye(3)),
        ValueError,
        "Turn one-hot labels into integers with `argmax(axis=-1)`. Received: "
        "y_true.shape=(3, 3), y_pred.shape=(3, 3)",
    ),
    (
        "losses.CrossEntropy",
        lambda g: losses.CrossEntropy()([0, 1, 2], threes(2)),
        ValueError,
        "`y_true` must hold a label for each row of `y_pred`. Received: "
        "y_true.shape=(3,), y_pred.shape=(2, 3)",
    ),
    (
        "losses.get",
        lambda g: losses.get("sc"),
        ValueError,
        "`loss` must be one of 'ce', 'sce', 'gce', 'mae', 'nce', 'nce_rce' or a "
        "`keras.losses.Loss`. Received: loss='sc'. Did you mean 'sce'?",
    ),
    (
        "losses.get",
        lambda g: losses.get(keras.losses.CategoricalCrossentropy()),
        ValueError,
        "`loss` must take logits. Received: loss=",
    ),
    (
        "losses.per_sample",
        lambda g: losses.per_sample("ce", [0], threes(1)),
        TypeError,
        "`loss` must be a `keras.losses.Loss` object, as `losses.get` makes one of a "
        "name. Received: loss='ce'",
    ),
    (
        "datasets.load",
        lambda g: datasets.load("digit", 20),
        ValueError,
        "or any name for own images in a `data_dir`. Received: name='digit'. Did you "
        "mean 'digits'?",
    ),
    (
        "datasets.load",
        lambda g: datasets.load(["digits"], 20),
        TypeError,
        "`name` must be a string, one of 'digits', 'solar_cells'",
    ),
    (
        "datasets.load",
        lambda g: datasets.load("digits", 5),
        ValueError,
        "`num_labels` must be at least 10, one for each class, and at most 1297, the "
        "number of images. Received: num_labels=5",
    ),
    (
        "datasets.load",
        lambda g: datasets.load("mine", 20, data_dir="gone"),
        ValueError,
        "`data_dir` must be a folder that exists. Received: data_dir='gone'",
    ),
    (
        "datasets.draw_labels",
        lambda g: datasets.draw_labels([0, 2], 2, 0, "mine"),
        ValueError,
        "Received: labels up to 2, but class 1 has no labeled image",
    ),
    (
        # A count for each class up to the highest would fill the memory.
        "datasets.draw_labels",
        lambda g: datasets.draw_labels([0, 2**31 - 1], 2, 0, "mine"),
        ValueError,
        "Received: labels up to 2147483647, but classes 1, 2, 3, 4, 5 and 2147483641 "
        "more",
    ),
]


@of_rows(ROWS)
def test_bad_input(given, call, error, words):
    check_refusal(given, call, error, words)
