"""Bad inputs of `training`."""

import keras
import numpy as np
import pytest

from kdfixmatch_keras.training import batches, optimizers
from tests.bad_inputs import check_refusal, fixmatch_batches, integer, of_rows

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")


class Pair(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return keras.ops.ones((2,))


ROWS = [
    (
        "optimizers.FixMatchSchedule",
        lambda g: optimizers.FixMatchSchedule(-0.1, 100),
        ValueError,
        "`initial_learning_rate` must be in (0, infinity). Received: "
        "initial_learning_rate=-0.1",
    ),
    (
        "optimizers.FixMatchSGD",
        lambda g: optimizers.FixMatchSGD(0.1, momentum=0.0),
        ValueError,
        "`momentum` must be in (0, 1]. Received: momentum=0.0",
    ),
    (
        "optimizers.build_optimizer",
        lambda g: optimizers.build_optimizer("lossscaleoptimizer", 9, pretrained=False),
        ValueError,
        "`optimizer` must be one of 'paper', 'adadelta', 'adafactor', 'adagrad', ",
    ),
    (
        "optimizers.build_optimizer",
        lambda g: optimizers.build_optimizer(None, 0, pretrained=False),
        ValueError,
        integer("num_steps", 1, 0),
    ),
    (
        "optimizers.check_optimizer",
        # Keras has no step for it.
        lambda g: optimizers.check_optimizer(keras.optimizers.SGD(lambda step: 0.1)),
        ValueError,
        "A function takes no argument. Received: <function",
    ),
    (
        "optimizers.check_optimizer",
        lambda g: optimizers.check_optimizer(keras.optimizers.SGD(Pair())),
        ValueError,
        "`optimizer` must have a learning rate that is one number. Received: ",
    ),
    (
        "batches.PermutationStream",
        lambda g: batches.PermutationStream(0, (1,)),
        ValueError,
        integer("size", 1, 0),
    ),
    (
        "PermutationStream.take",
        lambda g: batches.PermutationStream(3, (1,)).take(-1, 2),
        ValueError,
        integer("start", 0, -1),
    ),
    (
        "batches.FixMatchBatches",
        lambda g: fixmatch_batches(seed=None),
        ValueError,
        integer("seed", 0, None),
    ),
    (
        "batches.FixMatchBatches",
        lambda g: fixmatch_batches(trusted_labels=np.zeros(3, np.int32)),
        ValueError,
        "`trusted_labels` must be one integer an image, of shape (12,). Received: "
        "trusted_labels.shape=(3,)",
    ),
]


@of_rows(ROWS)
def test_bad_input(given, call, error, words):
    check_refusal(given, call, error, words)
