"""Projects and datasets: a cohort's slides, annotations and stored tiles. `slideloom.Project` is the way to it."""
