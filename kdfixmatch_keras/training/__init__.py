"""One training: its images, its batches, and going on where it was stopped."""
