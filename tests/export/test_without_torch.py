"""A machine with a GPU and without torch builds engines from a bundle's ONNX file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SHIPPED = Path(__file__).resolve().parents[2] / "configs/engines/surface-nano"

EXPORT = """
import sys
from pathlib import Path

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "models", "training"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, NoTorch())
from export.exporter import ExportOptions, export_bundle
made = export_bundle(Path(sys.argv[1]), Path(sys.argv[2]), ExportOptions([("onnx", "fp32")], force=True))
print([artifact.file for artifact in made.manifest.artifacts])
"""


def test_a_bundle_is_exported_again_without_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", EXPORT, SHIPPED, tmp_path / "again"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert "model.onnx" in done.stdout
