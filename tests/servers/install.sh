#!/bin/sh
# Debian packages that give the tests a real RTSP server (GStreamer), a GigE Vision camera (Aravis), an MQTT broker and a
# browser. Needs root; elsewhere the tests that need them skip with a word, and CI, where they must run, fails.
set -eu
packages="gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly python3-gi redis-server aravis-tools libaravis-0.8-0 mosquitto chromium
chromium-driver"
command -v dpkg-query >/dev/null 2>&1 || { echo "no Debian packages here: the tests that need them will skip"; exit 0; }
missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "not root, so not installed:$missing (the tests that need them will skip)"; exit 0; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
timeout 600 apt-get install -y -qq --no-install-recommends $missing >/dev/null
