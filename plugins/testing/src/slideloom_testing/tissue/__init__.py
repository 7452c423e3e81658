"""A realistic H&E-like slide, made with numpy only, with its ground truth."""

from slideloom_testing.tissue.demo import DEMO_SIZE, DemoSlide, write_demo_slide
from slideloom_testing.tissue.truth import DemoTruth, load_truth, save_truth, write_demo_rois

__all__ = ["DEMO_SIZE", "DemoSlide", "DemoTruth", "load_truth", "save_truth", "write_demo_rois", "write_demo_slide"]
