"""Projects and datasets: a cohort's slides, annotations and stored tiles. Start with `slideloom.Project`."""
