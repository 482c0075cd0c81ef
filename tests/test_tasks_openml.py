"""Data sets of openml.org, from a download folder of our own making: no test needs the network."""

import gzip
import hashlib
import json

import pytest
import torch

from tasks.data.sources import load_source


@pytest.fixture
def openml_cache(tmp_path, monkeypatch):
    """scikit-learn's download folder with one data set in it; returns a function that fills it."""
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there: no network

    def fill(rows, columns, target="class", data_type="numeric"):
        features = [{"index": str(i), "name": f"p{i}", "data_type": data_type} for i in range(columns)]
        features.append({"index": str(columns), "name": "class", "data_type": "nominal", "nominal_value": ["u", "v"]})
        for feature in features:
            is_target = feature["name"] == target
            feature.update(
                is_target=str(is_target).lower(),
                is_ignore="false",
                is_row_identifier="false",
                number_of_missing_values="0",
            )
        attributes = "".join(f"@ATTRIBUTE p{i} NUMERIC\n" for i in range(columns)) + "@ATTRIBUTE class {u,v}\n"
        arff = f"@RELATION toy\n{attributes}@DATA\n" + "\n".join(rows) + "\n"
        found = {"did": 7, "name": "toy", "version": 1, "status": "active", "format": "ARFF"}
        url = "https://www.openml.org/data/v1/download/77/toy.arff"
        description = {"id": "7", "name": "toy", "version": "1", "format": "ARFF", "file_id": "77", "status": "active"}
        description |= {
            "md5_checksum": hashlib.md5(arff.encode()).hexdigest(),
            "url": url,
            "default_target_attribute": target,
            "description": "",
        }
        answers = {
            "api/v1/json/data/list/data_name/toy/limit/2/status/active/": {"data": {"dataset": [found]}},
            "api/v1/json/data/7": {"data_set_description": description},
            "api/v1/json/data/features/7": {"data_features": {"feature": features}},
            "api/v1/json/data/qualities/7": {"data_qualities": {"quality": []}},
        }
        contents = {path: json.dumps(answer) for path, answer in answers.items()}
        contents["data/v1/download/77/toy.arff"] = arff
        for path, content in contents.items():
            file = tmp_path / "openml" / "openml.org" / f"{path}.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(gzip.compress(content.encode()))

    return fill


def test_openml_rows(openml_cache):
    openml_cache(["1.5,2,u", "-3,4,v", "5,600,u"], 2)
    for name in ("toy", "7"):
        (data,) = load_source(f"openml:{name}", standardise=False)
        assert data.name == f"openml:{name}"
        assert data.x.tolist() == [[1.5, 2], [-3, 4], [5, 600]]
        assert data.class_names == ("u", "v")
        assert data.y.tolist() == [0, 1, 0]


def test_openml_categories(openml_cache):
    openml_cache(["1,v", "2,u", "3,v"], 1, target="p0")
    (data,) = load_source("openml:toy")
    assert data.x.flatten().tolist() == [1, 0, 1]
    assert data.class_names == ("1", "2", "3")


def test_openml_images(openml_cache):
    openml_cache([",".join(["0"] * 48 + ["255", "u"]), ",".join(["51"] * 49 + ["v"])], 49)
    (data,) = load_source("openml:toy")
    assert data.image_shape == (7, 7)
    torch.testing.assert_close(data.x[1], torch.full((49,), 0.2))


def test_openml_that_cannot_be_used(openml_cache):
    openml_cache(["a,u", "b,v"], 1, data_type="string")
    with pytest.raises(ValueError, match="openml:toy: column 'p0' holds text, expected numbers"):
        load_source("openml:toy")
    openml_cache(["1,u", "?,v"], 1)
    with pytest.raises(ValueError, match="openml:toy: 1 of 2 input values are NaN"):
        load_source("openml:toy")
    openml_cache(["1,u", "2,v"], 1, target="")
    with pytest.raises(ValueError, match="openml:toy: has no class column, or several"):
        load_source("openml:toy")


def test_openml_without_network(openml_cache):
    with pytest.raises(OSError, match=r"openml:absent: could not be fetched from openml\.org, is there a network"):
        load_source("openml:absent")
