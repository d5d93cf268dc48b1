"""Writing all or nothing, and telling what was damaged since."""
