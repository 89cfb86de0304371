"""RTSP test camera: H.264 or H.265 over GStreamer on loopback. For the system's Python, which has the bindings.

    /usr/bin/python3 rtsp_server.py WIDTH HEIGHT FPS PORT {h264,h265} [USER PASSWORD]

PORT 0: any that is free.
Prints `port N` when it listens. Frame n shows n in binary as 16 vertical stripes (bit set: white), and in the row of
stripes below it the time of sending in ms, modulo 2^16, so that a client can measure latency and find lost frames.
"""

import sys
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the versions have to be asked for first

BITS = 16
WIDTH, HEIGHT, FPS = (int(argument) for argument in sys.argv[1:4])
PORT, CODEC = sys.argv[4:6]
ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 bitrate=4000 ! rtph264pay",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15 bitrate=4000 ! rtph265pay",
}


class Camera(GstRtspServer.RTSPMediaFactory):
    """One stream, shared by all clients."""

    def __init__(self):
        super().__init__()
        self.set_shared(True)
        self.set_launch(
            f"( appsrc name=camera is-live=true format=time do-timestamp=false "
            f"caps=video/x-raw,format=GRAY8,width={WIDTH},height={HEIGHT},framerate={FPS}/1 ! videoconvert ! "
            f"video/x-raw,format=I420 ! {ENCODERS[CODEC]} name=pay0 pt=96 config-interval=1 )"
        )

    def do_configure(self, media):
        self.frames = 0
        self.started_s = time.time()
        self.appsrc = media.get_element().get_child_by_name("camera")
        GLib.timeout_add(1000 // FPS, self.push)

    def push(self):
        now_s = time.time()
        buffer = Gst.Buffer.new_wrapped(picture(self.frames, int(now_s * 1000)))
        buffer.pts = int((now_s - self.started_s) * Gst.SECOND)
        buffer.duration = Gst.SECOND // FPS
        self.frames += 1
        return self.appsrc.emit("push-buffer", buffer) == Gst.FlowReturn.OK


def picture(number, sent_ms):
    return stripes(number) * (HEIGHT // 2) + stripes(sent_ms) * (HEIGHT - HEIGHT // 2)


def stripes(value):
    row = bytearray(WIDTH)
    for x in range(WIDTH):
        row[x] = 235 if value >> (BITS - 1 - x * BITS // WIDTH) & 1 else 16
    return bytes(row)


def main():
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(PORT)
    camera = Camera()
    if len(sys.argv) > 6:
        user, password = sys.argv[6:8]
        auth = GstRtspServer.RTSPAuth.new()
        token = GstRtspServer.RTSPToken.new()
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        camera.add_role_from_structure(
            Gst.Structure.new_from_string("viewer, media.factory.access=true, media.factory.construct=true")
        )
    server.get_mount_points().add_factory("/cam", camera)
    server.attach(None)
    print(f"port {server.get_bound_port()}", flush=True)
    GLib.MainLoop().run()


main()
