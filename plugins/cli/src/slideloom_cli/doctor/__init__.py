"""`slideloom doctor`: what is wrong with an installation or a machine, and what to tell of a slide that fails."""

from slideloom_cli.doctor.command import configure_doctor, run_doctor

__all__ = ["configure_doctor", "run_doctor"]
