"""Pages in a browser, on this machine alone: labeling images.

A package of its own beside `kdfixmatch_keras`, as its server must open at once: Keras
is for processes that it starts.
"""
