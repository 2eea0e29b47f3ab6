"""The token of a cluster: where it is, and that nobody else can read it."""

import os
import stat

import pytest
from own_home import own_home

from lwgan_dist.launch import auth_token

TOKEN = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No variable of Ray's, and a home of our own."""
    own_home(tmp_path, monkeypatch)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_where_the_token_is(tmp_path, monkeypatch):
    assert auth_token.find_token() is None
    assert "none is set" in auth_token.refusal("a:1")
    auth_token.private_token_file(create=False)
    assert not auth_token.token_file().exists()
    auth_token.private_token_file(create=True)
    assert mode(auth_token.token_file()) == 0o600
    told = auth_token.token_file().read_text()
    assert auth_token.find_token() == (told, str(auth_token.token_file()))
    named = tmp_path / "token"
    named.write_text(TOKEN + "\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(named))
    assert auth_token.authorization() == {"authorization": f"Bearer {TOKEN}"}
    monkeypatch.setenv("RAY_AUTH_TOKEN", "other")
    assert auth_token.find_token() == ("other", "RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert auth_token.find_token() is None
    assert "RAY_AUTH_MODE=disabled sends none" in auth_token.refusal("a:1")


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_the_token_file_is_private_under_every_umask(umask):
    before = os.umask(umask)
    try:
        auth_token.private_token_file(create=True)
        told = auth_token.token_file().read_text()
        assert mode(auth_token.token_file()) == 0o600
        auth_token.token_file().chmod(0o644)
        auth_token.private_token_file(create=False)
    finally:
        os.umask(before)
    assert mode(auth_token.token_file()) == 0o600
    assert auth_token.token_file().read_text() == told
    assert [path.name for path in auth_token.token_file().parent.iterdir()] == ["auth_token"]


@pytest.mark.parametrize("variable", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"])
def test_no_token_file_where_ray_needs_none(monkeypatch, variable):
    monkeypatch.setenv(variable, "disabled")
    auth_token.private_token_file(create=True)
    assert not auth_token.token_file().exists()
