"""Classes in slide QC: what is dropped for which of them, and what accounts, pictures and files say about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from attrs import frozen
from slideloom import (
    Box,
    Level,
    Pipeline,
    PluginError,
    QcClass,
    QcFinding,
    QcResult,
    Scene,
    Settings,
    Size,
    Slide,
    SlideError,
    SlideInfo,
    SlidePlan,
    SlideQc,
    SlideRecord,
    SlideReport,
    apply_regions,
    assess_slide,
    load_mask,
    plan_slide,
    qc_classes,
    reason_colours,
    save_mask,
)
from slideloom.drawing.pictures import CLASS_COLOURS, LEGEND
from slideloom.extraction.account import slide_report
from slideloom.extraction.extras import areas_of
from slideloom.extraction.overview import plan_picture, slide_html
from slideloom.pipeline.pipeline import QcUse
from slideloom.pipeline.tiling import Tiling
from slideloom_testing import PixelsSlide, info_of

TISSUE, GLASS, FOLD, BLUR = 0, 1, 2, 7
CLASSES = (
    QcClass(TISSUE, "tissue"),
    QcClass(GLASS, "background", "background"),
    QcClass(FOLD, "fold", "artifact", 0.2),
    QcClass(BLUR, "out-of-focus", "blur", 0.5),
)


@frozen
class Model(Settings[SlideQc]):
    """Gives each row of tiles the same labels: one text of ten digits for ten tiles, or of more for parts of them."""

    name: ClassVar[str] = "model"
    row: str = "0000000000"
    classes: tuple[QcClass, ...] = CLASSES
    change: dict[str, Any] = attrs.field(factory=dict)

    def build(self) -> SlideQc:
        return ModelQc(self)


class ModelQc(SlideQc):
    def __init__(self, settings: Model) -> None:
        self.settings = settings

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        labels = np.array([[int(letter) for letter in self.settings.row]])
        return attrs.evolve(QcResult.of_labels(labels, self.settings.classes), **self.settings.change)


def plan_of(*steps: Settings[SlideQc], threshold: float = 0.6) -> SlidePlan:
    """The plan of a grey slide of 10 x 6 tiles."""
    slide = PixelsSlide(np.full((600, 1000, 3), 128, np.uint8), mpp=1.0, path=Path("a.svs"))
    uses = tuple(QcUse(step=step, filter_threshold=threshold) for step in steps)
    return plan_slide(slide, Pipeline(tiles=Tiling(size_px=50, size_um=100.0), qc=uses))


def decided(plan: SlidePlan) -> SlideRecord:
    record = apply_regions(plan)
    assess_slide(plan, record)
    return record


def test_a_tile_is_dropped_for_its_class_and_accounts_name_it() -> None:
    record = decided(plan_of(Model("0112700000")))

    assert record.ledger.status()[:10] == [
        "candidate", "qc:model:background", "qc:model:background", "qc:model:fold", "qc:model:out-of-focus",
        *["candidate"] * 5,
    ]  # fmt: skip
    assert record.ledger.rejected == {
        "qc:model:background": 12, "qc:model:fold": 6, "qc:model:out-of-focus": 6,
    }  # fmt: skip
    assert record.metrics == {
        "model.masked": 0.4,
        "model:background.masked": 0.2,
        "model:fold.masked": 0.1,
        "model:out-of-focus.masked": 0.1,
    }
    assert record.qc_kinds == {"model": "artifact"}
    assert record.qc_classes == {"model": {"background": "background", "fold": "artifact", "out-of-focus": "blur"}}


@pytest.mark.parametrize(("share", "status"), [(0.2, "candidate"), (0.3, "qc:model:fold")])
def test_a_class_drops_a_tile_of_which_it_covers_more_than_its_threshold(share: float, status: str) -> None:
    fold = round(share * 10)
    record = decided(plan_of(Model("2" * fold + "0" * (100 - fold))))

    assert record.ledger.scores["qc:model:fold"][0] == pytest.approx(share)
    assert record.ledger.status()[0] == status


def test_a_tile_that_classes_mask_together_is_dropped_for_the_one_with_most_of_it() -> None:
    # 20% fold and 50% blur are not above their own thresholds, but 70% are above that of the step.
    record = decided(plan_of(Model("2277777000" + "0" * 90)))

    assert record.ledger.scores["qc:model"][0] == pytest.approx(0.7)
    assert record.ledger.status()[0] == "qc:model:out-of-focus"


def test_classes_without_a_kind_drop_nothing_whatever_they_cover() -> None:
    assert decided(plan_of(Model("0000000000"))).ledger.rejected == {}


def test_each_use_of_a_step_has_its_own_reasons() -> None:
    record = decided(plan_of(Model("2000000000"), Model("0200000000")))

    assert record.ledger.rejected == {"qc:model:fold": 6, "qc:model-2:fold": 6}


def test_the_blur_burden_counts_the_blur_of_tissue_and_no_other_class() -> None:
    # Half of the slide is glass; of five tenths of tissue one is out of focus.
    assert decided(plan_of(Model("1111170200"))).burden == pytest.approx(0.2)


def test_the_mask_of_a_result_is_what_its_classes_discard() -> None:
    result = QcResult.of_labels(np.array([[TISSUE, GLASS], [FOLD, BLUR]]), CLASSES)

    assert result.mask.tolist() == [[False, True], [True, True]]
    assert result.labels is not None
    assert result.labels.dtype == np.uint8
    assert result.kind == "artifact"
    assert QcResult.of_labels(np.array([[0, 1]]), CLASSES[:2]).kind == "background"


LABELS = np.array([[TISSUE, GLASS], [FOLD, BLUR]])


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        (LABELS + 1, CLASSES, "labels hold 3, which is no class's value"),
        (LABELS - 1, CLASSES, "labels hold -1, which is no class's value"),
        (LABELS.astype(float), CLASSES, r"wanted labels \(h, w\) of whole numbers, got \(2, 2\) float64"),
        (LABELS[None], CLASSES, r"wanted labels \(h, w\) of whole numbers, got \(1, 2, 2\)"),
        (LABELS, (), "classes must be QcClass objects, at least one"),
        (LABELS, (*CLASSES, QcClass(9, "Fold")), "two classes have the name fold"),
        (LABELS, (*CLASSES, QcClass(2, "pen")), "two classes have the value 2"),
        (LABELS, (*CLASSES, QcClass(9, "../pen")), "digits, - and _, not '../pen'"),
        (LABELS, (*CLASSES, QcClass(9, "pen:ink")), "digits, - and _, not 'pen:ink'"),
        (LABELS, (*CLASSES, QcClass(256, "pen")), "a whole number from 0 to 255, not 256"),
        (LABELS, (*CLASSES, QcClass(9, "pen", "ink")), "must be background, blur, artifact or None, not 'ink'"),  # type: ignore[arg-type]
        (LABELS, (*CLASSES, QcClass(9, "pen", "artifact", 2)), "must be from 0 to 1 or None, not 2"),
    ],
)
def test_a_result_with_classes_that_contradict_each_other_is_refused(labels: Any, classes: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        QcResult.of_labels(labels, classes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mask": np.zeros((1, 10), bool)}, "its mask is not what its classes discard"),
        ({"labels": None}, "it has classes but no labels"),
        ({"classes": ()}, "classes must be QcClass objects"),
        ({"labels": np.zeros((1, 10), np.int64)}, "labels must be uint8, not int64"),
    ],
)
def test_a_step_whose_labels_and_mask_differ_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    with pytest.raises(PluginError, match=f"qc 'model' of .* broke its contract on slide a: {said}"):
        decided(plan_of(Model("2222222222", change=change)))


def test_classes_are_given_as_texts() -> None:
    assert qc_classes(["tissue", "fold:artifact:0.2", "glass:background", "pen:keep"]) == (
        QcClass(0, "tissue"),
        QcClass(1, "fold", "artifact", 0.2),
        QcClass(2, "glass", "background"),
        QcClass(3, "pen"),
    )
    assert qc_classes(["pen:artifact"], known=["tissue", "pen"]) == (
        QcClass(0, "tissue"),
        QcClass(1, "pen", "artifact"),
    )


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("fold:crease", "'fold:crease' is not NAME, NAME:KIND or NAME:KIND:SHARE with KIND one of background, blur"),
        ("fold:artifact:a lot", "the share must be a number, not 'a lot'"),
        ("fold:artifact:20", "the threshold of class 'fold' must be from 0 to 1 or None, not 20.0"),
        ("ink:artifact", "there is no class 'ink'; there are tissue, fold"),
        ("fold:artifact:0.1:2", "is not NAME, NAME:KIND or NAME:KIND:SHARE"),
    ],
)
def test_a_text_that_names_no_class_is_refused(word: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        qc_classes([word], known=["tissue", "fold"])


def test_a_saved_result_comes_back_with_its_classes(tmp_path: Path) -> None:
    extent = Box(0, 0, 1990, 1490)
    result = QcResult.of_labels(LABELS, CLASSES, extent=extent, metrics={"share": 0.25}, notes=("a note",))
    path, beside = save_mask(result, tmp_path / "slide-model.npy", slide=info_of())

    back = load_mask(path, slide=info_of())

    assert np.array_equal(np.load(path), LABELS)
    assert json.loads(beside.read_text())["classes"][2] == {
        "value": 2, "name": "fold", "kind": "artifact", "threshold": 0.2,
    }  # fmt: skip
    assert back.labels is not None
    assert np.array_equal(back.labels, LABELS)
    assert np.array_equal(back.mask, result.mask)
    assert attrs.evolve(back, mask=result.mask) == attrs.evolve(result, mask=result.mask)


def test_a_saved_label_map_with_an_unknown_value_is_refused(tmp_path: Path) -> None:
    path, beside = save_mask(QcResult.of_labels(LABELS, CLASSES), tmp_path / "a.npy", slide=info_of())
    np.save(path, np.full((2, 2), 5, np.uint8))
    record = json.loads(beside.read_text())
    del record["crc32"]  # as somebody does who paints in a mask
    beside.write_text(json.dumps(record))

    with pytest.raises(SlideError, match=r"a\.npy: the saved mask is damaged \(labels hold 5, which is no class's"):
        load_mask(path)


def test_each_class_has_its_own_colour_and_glass_is_grey() -> None:
    record = decided(plan_of(Model("0112700000")))
    colours = reason_colours(record.qc_kinds, record.qc_classes)

    assert colours == {
        "qc:model": LEGEND["artifact"],
        "qc:model:background": LEGEND["background"],
        "qc:model:fold": CLASS_COLOURS[0],
        "qc:model:out-of-focus": CLASS_COLOURS[1],
    }
    assert len({*CLASS_COLOURS, *LEGEND.values()}) == len(CLASS_COLOURS) + len(LEGEND)


def test_a_picture_shows_classes_in_their_colours_and_a_notebook_says_which() -> None:
    plan = plan_of(Model("0112700000"))
    record = decided(plan)
    picture, html = plan_picture(plan, record, max_px=1000), slide_html(plan, record, title="a")

    # Outlines have the plain colour; within, it is mixed with the grey of the slide, 128.
    assert tuple(picture.rgb[0, 350]) == CLASS_COLOURS[0]
    assert tuple(picture.rgb[50, 350]) == tuple(round(128 * 0.55 + value * 0.45) for value in CLASS_COLOURS[0])
    assert tuple(picture.rgb[50, 50]) == (128, 128, 128)
    assert f'<span style="color:rgb{CLASS_COLOURS[1]}">&#9632;</span> 6 qc:model:out-of-focus' in html


def test_a_report_tells_classes_and_one_without_them_is_as_it_was() -> None:
    with_classes, without = (
        slide_report(plan, decided(plan), path=Path("a.svs"), digest="", trial="plan-only", fallback=0)
        for plan in (plan_of(Model("0112700000")), plan_of())
    )

    assert SlideReport.from_table(json.loads(json.dumps(with_classes.as_table()))).qc_classes == {
        "model": {"background": "background", "fold": "artifact", "out-of-focus": "blur"}
    }
    assert "qc_classes" not in without.as_table()


def test_what_a_step_tells_but_keeps_is_outlined_and_tissue_is_not() -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[2:6, 3:13], labels[10:14, 3:8], labels[:, 20:] = 1, 2, 3
    classes = qc_classes(["tissue", "fold:keep:0.2", "pen:artifact:0.1", "glass:background:0.6"])
    slide = SlideInfo(Path("a.svs"), "a", "none", (Level(Size(300, 200), 1.0, 1.0),), mpp=None)

    regions = areas_of(QcFinding("model", QcResult.of_labels(labels, classes), 0.6), slide)

    assert {(one.label, one.shape.area) for one in regions.items} == {("fold", 4000.0), ("pen", 2000.0)}
    assert classes[1].kind is None
