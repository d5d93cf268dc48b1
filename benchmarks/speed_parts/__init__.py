"""The parts of the speed benchmark, a module each; `plan` says what each measures."""
