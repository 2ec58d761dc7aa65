"""Every speed that we claim, as something anybody can run: one module a stage, each with `run(...) -> Result`."""
