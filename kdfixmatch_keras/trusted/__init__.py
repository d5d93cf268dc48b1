"""The trusted set, and what selects it."""
