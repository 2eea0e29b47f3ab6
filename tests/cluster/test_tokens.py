"""A head that wants a token: who has none or another one is refused, in a line that says why; the token file is ours
alone.
"""

import json
import os
import stat
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from ray_head import TOKEN, ray_head
from tiny import FAST

from lwgan_dist.config import TrainConfig, override
from lwgan_dist.configfile import to_yaml

pytestmark = pytest.mark.cluster

WRONG = "fedcba9876543210" * 4
TOKENS = {"none": None, "wrong": WRONG, "right": TOKEN}
REASONS = {"none": "wants a token, and none is set", "wrong": "refuses the token in RAY_AUTH_TOKEN"}


@pytest.fixture(scope="module")
def head():
    with ray_head() as head:
        yield head


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(to_yaml(TrainConfig.model_validate(override(FAST, {"execution.workers": 1}))))
    return str(file)


def run(environment, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "lwgan_dist", *arguments], env=environment, capture_output=True, text=True, timeout=240
    )


def refused(told, reason):
    assert told.returncode == 5, told
    (line,) = told.stderr.splitlines()
    assert line.startswith("error: the Ray cluster at ")
    assert reason in line
    assert TOKEN not in told.stdout + told.stderr
    assert WRONG not in told.stdout + told.stderr


@pytest.mark.parametrize("who", TOKENS)
def test_job_submission(head, config, tmp_path, who):
    environment = head.client_environment(TOKENS[who])
    submit = ("submit", config, "--name", f"by-{who}", "--address", head.url, "--", "train")
    told = run(environment, *submit, "--storage", str(tmp_path))
    listed = run(environment, "job", "list", "--address", head.url)
    if who == "right":
        assert (told.returncode, listed.returncode) == (0, 0), told.stderr + listed.stderr
        assert "by-right" in listed.stdout
    else:
        refused(told, REASONS[who])
        refused(listed, REASONS[who])
    names = run(head.client_environment(TOKEN), "job", "list", "--json", "--address", head.url).stdout
    assert (f"by-{who}" in names) == (who == "right"), "nothing of a refused submission arrived"


@pytest.mark.parametrize("who", TOKENS)
def test_the_dashboards_interface(head, tmp_path, who):
    """Over plain HTTP: reading, and carrying out a command."""
    trace, headers = tmp_path / "was-here", {"Content-Type": "application/json"}
    if TOKENS[who]:
        headers["Authorization"] = f"Bearer {TOKENS[who]}"
    code = {"none": 401, "wrong": 403, "right": 200}[who]
    body = json.dumps({"entrypoint": f"touch {trace}", "submission_id": f"http-{who}"}).encode()
    for path, data in (("/api/jobs/", None), ("/nodes?view=summary", None), ("/api/jobs/", body)):
        request = urllib.request.Request(head.url + path, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
        assert status == code, path
    told = run(head.client_environment(TOKEN), "job", "logs", f"http-{who}", "--follow", "--address", head.url)
    assert told.returncode == (0 if who == "right" else 5), told
    assert trace.exists() == (who == "right")


@pytest.mark.parametrize("who", TOKENS)
def test_a_driver(head, config, tmp_path, who):
    told = run(
        head.client_environment(TOKENS[who]),
        "train", config, "--address", head.address, "--storage", str(tmp_path), "--name", "run",
    )  # fmt: skip
    if who == "right":
        assert told.returncode == 0, told.stderr
    else:
        refused(told, REASONS[who])
    assert (tmp_path / "run" / "result.json").exists() == (who == "right")


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("token", "wants a token, and none is set"), ("disabled", "RAY_AUTH_MODE=disabled sends none")],
)
def test_the_mode_alone(head, config, tmp_path, mode, reason):
    environment = head.client_environment() | {"RAY_AUTH_MODE": mode}
    refused(run(environment, "train", config, "--address", head.address, "--storage", str(tmp_path)), reason)
    refused(run(environment, "job", "list", "--address", head.url), reason)


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "control"])
def test_a_local_ray_leaves_a_token_file_for_its_owner_only(config, tmp_path, ours):
    """Under the usual umask; the control shows that Ray itself leaves it readable by all."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", "import ray; ray.init(address='local', num_cpus=1, include_dashboard=False)"]
    if ours:
        command = [sys.executable, "-m", "lwgan_dist", "train", config, "--storage", str(tmp_path)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, umask=0o022)
    assert told.returncode == 0, told.stderr
    file = home / ".ray" / "auth_token"
    assert stat.S_IMODE(file.stat().st_mode) == (0o600 if ours else 0o644)
    assert len(file.read_text()) == 64
    assert file.read_text() not in told.stdout + told.stderr
    assert [path.name for path in file.parent.iterdir()] == ["auth_token"], "no draft is left"
