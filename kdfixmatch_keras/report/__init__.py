"""The report of a run: one HTML page that says how good the model is, and why.

`collect` looks at a trained model and its images and gives plain values, which JSON can
keep; `render` makes the page of them, without images or Keras.

Example:
```python
from kdfixmatch_keras import report

contents = report.collect(model, labeled, unlabeled, test)
report.write(contents, "report.html")
```
"""

from kdfixmatch_keras.report.contents import collect
from kdfixmatch_keras.report.page import render, write

__all__ = ["collect", "render", "write"]
