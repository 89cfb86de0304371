"""What pyproject.toml can't say: a wheel carries `configs/` (lines, recipes, the shipped engine) inside `f2pnet`.

A checkout has them at its root, where people look for them; `f2p demo` finds either.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = ("engines", "lines", "recipes", "training")


class BuildWithConfigs(build_py):
    """Puts the configurations beside the code that reads them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name in CARRIED:
            shutil.copytree(Path("configs", name), Path(self.build_lib, "f2pnet", "configs", name), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConfigs})
