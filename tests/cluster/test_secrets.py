"""Files of secrets: what is read, what is refused, and how it gets into the environment."""

import json
import os

import pytest

from lwgan_dist.cluster.secrets import FILE, FOLDER, load_secrets, packed, parse, read_env_file
from lwgan_dist.errors import ConfigError

SECRET = "zebra-secret-5417"


def test_env_files():
    told = parse(
        "# comment\n\nA=1\r\nexport B = two words # comment\nC='a b # no'  # yes\n"
        'D="x\\ny\\"z"\nE=\nF="several\nlines"\nG=a#b\nH= # nothing\nI==x=\nJ=last',
        "f",
    )
    assert told == {
        "A": "1", "B": "two words", "C": "a b # no", "D": 'x\ny"z', "E": "", "F": "several\nlines", "G": "a#b", "H": "",
        "I": "=x=", "J": "last",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("zebra", "not of the form"),
        ("A='zebra", "not closed"),
        ("1A=zebra", "not of the form"),
        ("A='x' zebra", "not of the form"),
        ("A=1\nA=zebra", "f:2: A: is given twice"),
        ("RAY_AUTH_TOKEN=zebra", "the nodes of the cluster have its token already"),
        ("RAY_ADDRESS=zebra", "set where its nodes start"),
        ("LD_PRELOAD=zebra", "before a process starts"),
        ("PYTHONPATH=zebra", "before a process starts"),
    ],
)
def test_lines_that_are_refused(line, reason):
    with pytest.raises(ConfigError, match=reason) as error:
        parse(line, "f")
    assert "zebra" not in str(error.value)


def test_env_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_env_file(str(tmp_path / "x"))
    (tmp_path / "y").write_bytes(b"A=\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_env_file(str(tmp_path / "y"))


def test_secrets_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("MARKER", "before")
    monkeypatch.setenv("PYTHONPATH", f"/nowhere:{tmp_path / 'job'}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job" / FOLDER).mkdir(parents=True)
    (tmp_path / "job" / FILE).write_text(packed({"MARKER": SECRET}))
    load_secrets()
    assert os.environ["MARKER"] == SECRET
    monkeypatch.delenv("PYTHONPATH")
    with pytest.raises(FileNotFoundError, match="in none of the folders"):
        load_secrets()


def test_equal_secrets_have_unequal_packages():
    assert packed({"A": "1"}) != packed({"A": "1"})
    assert json.loads(packed({"A": "1"}))["values"] == {"A": "1"}
