"""The parts of the speed benchmark, a module each."""
