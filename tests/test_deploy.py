"""The launch files: torchrun and this program know the commands in them, and their fields have meaning."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from torch.distributed.run import get_args_parser

from banyan.cli.train import app

DEPLOY = Path(__file__).parent.parent / "deploy"
LAUNCHERS = sorted(path for path in DEPLOY.iterdir() if path.is_file())
SCRIPTS = sorted([*DEPLOY.glob("*.sbatch"), *DEPLOY.glob("*.sh")])
SBATCH_OPTIONS = {  # of sbatch's manual
    "job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time", "signal", "requeue", "open-mode",
    "output",
}  # fmt: skip


def words_of_script(path: Path) -> list[str]:
    """The words of the script's torchrun, with its variables filled in."""
    text = path.read_text("utf-8").replace("\\\n", " ")
    text = re.sub(r"\$\{(\w+):-(\w+)\}", r"\2", text)
    text = re.sub(r"\$\{?SLURM_NNODES\}?", "2", text)
    (line,) = [line for line in text.splitlines() if " torchrun " in f" {line} " and not line.startswith("#")]
    words = shlex.split(line)
    return words[words.index("torchrun") + 1 :]


def job() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "pytorchjob.yaml").read_text("utf-8"))
    return content


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = job()["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    return spec


def commands() -> list[list[str]]:
    return [*map(words_of_script, SCRIPTS), pod()["containers"][0]["command"][1:]]


def test_there_is_a_launch_file_for_each_way() -> None:
    assert {path.name for path in LAUNCHERS} == {"slurm.sbatch", "torchrun.sh", "pytorchjob.yaml"}


@pytest.mark.parametrize("words", commands(), ids=["slurm", "torchrun", "kubernetes"])
def test_torchrun_and_banyan_take_the_commands(words: list[str]) -> None:
    launched = get_args_parser().parse_args(words)
    assert launched.module and launched.training_script == "banyan"
    verb, *arguments = launched.training_script_args
    context = typer.main.get_command(app).make_context("banyan train", arguments)
    assert verb == "train" and context.params["resume"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_bash_takes_the_scripts(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_slurm_knows_the_options() -> None:
    lines = (DEPLOY / "slurm.sbatch").read_text("utf-8").splitlines()
    options = [line.removeprefix("#SBATCH --").partition("=")[0] for line in lines if line.startswith("#SBATCH")]
    assert set(options) <= SBATCH_OPTIONS and len(options) == len(set(options))


def test_the_job_has_the_fields_of_a_pytorchjob() -> None:
    content = job()
    assert (content["apiVersion"], content["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    assert set(content["spec"]) == {"elasticPolicy", "runPolicy", "pytorchReplicaSpecs"}
    policy, worker = content["spec"]["elasticPolicy"], content["spec"]["pytorchReplicaSpecs"]["Worker"]
    assert set(policy) <= {"rdzvBackend", "minReplicas", "maxReplicas", "nProcPerNode", "maxRestarts"}
    assert policy["minReplicas"] == policy["maxReplicas"] == worker["replicas"]
    assert worker["restartPolicy"] in {"Always", "OnFailure", "Never", "ExitCode"}


def test_every_pod_has_a_gpu_for_each_process_and_the_volumes_it_mounts() -> None:
    (container,) = pod()["containers"]
    assert container["name"] == "pytorch"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == job()["spec"]["elasticPolicy"]["nProcPerNode"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod()["volumes"]}


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.name)
def test_a_restart_meets_at_a_new_address(path: Path) -> None:
    assert "TORCH_DISABLE_SHARE_RDZV_TCP_STORE" in path.read_text("utf-8")
