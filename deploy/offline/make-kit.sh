#!/bin/sh
# Makes a kit for a machine without internet: every wheel that the line needs, and the installer.
#   make-kit.sh OUT.tar [EXTRAS]      for the Python and the platform that run this
set -eu
out="${1:?give the archive to write, such as f2p-kit.tar}"
extras="${2:-cpu,camera,console,mqtt}"
python="${PYTHON:-python3}"
here=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/f2p-kit/wheels"
cp -R "$here/setup.py" "$here/pyproject.toml" "$here/README.md" "$here/LICENSE" "$here/NOTICE" "$here/MANIFEST.in" \
    "$here/f2pnet" "$here/models" "$here/training" "$here/export" "$here/pipeline" "$here/configs" "$work/" 2>/dev/null
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$work/f2p-kit/wheels" "$work"
wheel=$(ls "$work"/f2p-kit/wheels/f2pnet-*.whl)
"$python" -m pip wheel --quiet --wheel-dir "$work/f2p-kit/wheels" "$wheel[$extras]"
cp "$here/deploy/systemd/install.sh" "$here/deploy/systemd/f2p@.service" "$work/f2p-kit/"
"$python" -c 'import platform,sys; print(f"Python {sys.version_info[0]}.{sys.version_info[1]}, {platform.system()} {platform.machine()}")' \
    > "$work/f2p-kit/FOR"
cat > "$work/f2p-kit/README" <<TEXT
f2p for a machine without internet. Wanted there: what stands in FOR.
  sudo sh install.sh wheels        under /opt/f2p, with systemd units
  or: python3 -m venv f2p && f2p/bin/pip install --no-index --find-links wheels 'f2pnet[$extras]'
TEXT
(cd "$work/f2p-kit" && find . -type f ! -name SHA256SUMS | sort | xargs sha256sum > SHA256SUMS)
tar -C "$work" -cf "$out" f2p-kit
echo "$out: $(ls "$work/f2p-kit/wheels" | wc -l) wheels, $(du -m "$out" | cut -f1) MB"
