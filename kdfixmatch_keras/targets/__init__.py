"""Whose label counts in a step, and towards what: a file a rule."""
