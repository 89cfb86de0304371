#!/bin/sh
# Installs f2p under /opt/f2p with a unit for each line, or removes it. Run as root, from anywhere:
#   install.sh WHEEL_OR_FOLDER_OF_WHEELS      install.sh --uninstall     DESTDIR=/some/root install.sh ... (no systemctl)
set -eu
root="${DESTDIR:-}"
here=$(cd "$(dirname "$0")" && pwd)
systemd() { [ -n "$root" ] || systemctl "$@"; }

if [ "${1:-}" = --uninstall ]; then
    systemd stop 'f2p@*.service' || true
    rm -f "$root/etc/systemd/system/f2p@.service"
    systemd daemon-reload
    rm -rf "$root/opt/f2p"
    echo "removed; /etc/f2p and /var/lib/f2p (spool, evidence, store) are left: delete them when they are of no use"
    exit 0
fi

source="${1:?give the wheel of f2pnet, or a folder of wheels (the offline kit)}"
python="${PYTHON:-python3}"
install -d "$root/opt" "$root/etc/f2p" "$root/etc/systemd/system" "$root/var/lib/f2p"
"$python" -m venv "$root/opt/f2p"
if [ -d "$source" ]; then
    "$root/opt/f2p/bin/python" -m pip install --no-index --find-links "$source" 'f2pnet[cpu,camera,console,mqtt]'
else
    "$root/opt/f2p/bin/python" -m pip install "$source[cpu,camera,console,mqtt]"
fi
install -m 644 "$here/f2p@.service" "$root/etc/systemd/system/"
if [ -z "$root" ]; then
    id f2p >/dev/null 2>&1 || useradd --system --home-dir /var/lib/f2p --shell /usr/sbin/nologin f2p
    chown f2p:f2p /var/lib/f2p
fi
systemd daemon-reload
echo "installed; write /etc/f2p/NAME.yaml, then: systemctl enable --now f2p@NAME"
