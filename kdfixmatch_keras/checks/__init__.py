"""The words of every error."""
