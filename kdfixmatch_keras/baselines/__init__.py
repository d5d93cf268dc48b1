"""What KD-FixMatch is compared with, under the same facade.

Every method takes the same settings, trains the same network with the same weak
augmentation and optimizer, and predicts with the same moving average of its weights.
Each network it trains, one or several in turn, gets as many steps; `image_passes`
says what that cost.

| class | networks | labels of the unlabeled images |
|---|---|---|
| `Supervised` | 1 | not used |
| `SelfTraining` | 2 | the confident ones of the first network, given once |
| `NoisyStudent` | 1 + `rounds` | those of the network before, balanced |
| `MeanTeacher` | 1 | the teacher's probabilities, in each step |
| `FixMatch` | 1 | the teacher's confident labels, in each step |

Two train no network. They classify the features of the backbone as it is, which with
trained weights takes seconds, and is what one would try first:

| class | classifier | unlabeled images |
|---|---|---|
| `LinearProbe` | logistic regression; size and strength cross-validated | not used |
| `LabelSpreading` | a graph of nearest neighbours | hand on the labels of the labeled |
"""

from kdfixmatch_keras.baselines.fixmatch import FixMatch
from kdfixmatch_keras.baselines.label_spreading import LabelSpreading
from kdfixmatch_keras.baselines.linear_probe import LinearProbe
from kdfixmatch_keras.baselines.mean_teacher import MeanTeacher
from kdfixmatch_keras.baselines.mean_teacher_network import MeanTeacherNetwork
from kdfixmatch_keras.baselines.noisy_student import NoisyStudent
from kdfixmatch_keras.baselines.noisy_student_network import NoisyStudentNetwork
from kdfixmatch_keras.baselines.pseudo_label_network import PseudoLabelNetwork
from kdfixmatch_keras.baselines.self_training import SelfTraining
from kdfixmatch_keras.baselines.supervised import Supervised

__all__ = [
    "FixMatch",
    "LabelSpreading",
    "LinearProbe",
    "MeanTeacher",
    "MeanTeacherNetwork",
    "NoisyStudent",
    "NoisyStudentNetwork",
    "PseudoLabelNetwork",
    "SelfTraining",
    "Supervised",
]
