"""Fits as values: published numbers, JSON, and the errors of wrong files."""

import json

import numpy as np
import pytest
from slideloom import ConfigError
from slideloom_stain.fits import MacenkoFit, ReinhardFit, VahadaneFit, load_fit, preset, save_fit


def test_the_default_preset_holds_the_published_numbers():
    assert preset("macenko").stain_matrix_target.tolist() == [
        [0.5062568, 0.2218694],
        [0.75322306, 0.8652155],
        [0.40691733, 0.42241502],
    ]
    assert preset("macenko").target_concentrations.tolist() == [1.7656903, 1.2797493]
    assert preset("reinhard-fast", "v3").target_means.tolist() == [58.12343, 26.483482, -12.701005]
    assert preset("reinhard-mask", "v2").target_stds.tolist() == [18.560713, 14.889295, 5.6756697]
    assert preset("vahadane").stain_matrix_target.tolist()[0] == [0.4435433, 0.7502863, 0.4902447]


@pytest.mark.parametrize("method", ["macenko", "macenko-fast", "reinhard", "reinhard-fast-mask", "vahadane"])
def test_a_fit_survives_its_file(method, tmp_path):
    save_fit(tmp_path / "fit.json", method, preset(method))

    assert load_fit(tmp_path / "fit.json") == (method, preset(method))
    assert load_fit(tmp_path / "fit.json", method) == (method, preset(method))


def test_masked_methods_take_the_fit_of_the_unmasked(tmp_path):
    save_fit(tmp_path / "fit.json", "reinhard", preset("reinhard"))

    assert load_fit(tmp_path / "fit.json", "reinhard-mask")[1] == preset("reinhard")


@pytest.mark.parametrize(
    "table",
    [
        {"hp": {"normalizer": "macenko"}, "norm_fit": preset("macenko").as_table()},
        {"method": "macenko", "fit": preset("macenko").as_table()},
        preset("macenko").as_table(),
    ],
    ids=["params.json", "bags_config.json", "values"],
)
def test_fits_of_existing_projects_are_read(table, tmp_path):
    (tmp_path / "params.json").write_text(json.dumps(table))

    assert load_fit(tmp_path / "params.json", "macenko")[1] == preset("macenko")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON file"),
        ("[1]", "not a fit"),
        ('{"target_means": [1, 2, 3]}', "not a fit of macenko"),
        ('{"method": "reinhard", "fit": {}}', "holds a fit of reinhard"),
        ('{"method": "macenko-fast", "fit": {}}', "holds a fit of macenko-fast"),
        ('{"fit": {"stain_matrix_target": [[1]], "target_concentrations": [1, 1]}}', "3 x 2 finite numbers"),
        (
            '{"fit": {"stain_matrix_target": [[1,1],[1,1],[1,NaN]], "target_concentrations": [1, 1]}}',
            "finite",
        ),
        ("[" * 200_000, "not a JSON file"),
        ("null", "not a fit of macenko"),
    ],
    ids=lambda text: text[:30],
)
def test_a_file_that_is_no_fit_says_what_is_wrong(text, message, tmp_path):
    path = tmp_path / "fit.json"
    path.write_text(text)

    with pytest.raises(ConfigError, match=message) as caught:
        load_fit(path, "macenko")
    assert "fit.json" in str(caught.value)


def test_a_preset_that_does_not_exist_names_those_that_do():
    with pytest.raises(ConfigError, match=r"vahadane has no preset 'v3'.*v1, v2"):
        preset("vahadane", "v3")


def test_the_mean_of_fits_is_that_of_each_value():
    one = ReinhardFit([60, 10, -10], [10, 5, 5])
    other = ReinhardFit([70, 20, -20], [20, 7, 3])

    assert ReinhardFit.mean([one, other]) == ReinhardFit([65, 15, -15], [15, 6, 4])


def test_fits_with_equal_values_are_equal():
    assert VahadaneFit(np.ones((2, 3))) == VahadaneFit(np.ones((2, 3)))
    assert MacenkoFit(np.ones((3, 2)), [1, 2]) != MacenkoFit(np.ones((3, 2)), [1, 3])
