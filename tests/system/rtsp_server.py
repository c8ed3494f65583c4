"""An RTSP server for a test: ``/usr/bin/python3 rtsp_server.py PORT``.

Run by the system's Python, which has GStreamer's bindings: a moving ball in H.264 at
rtsp://127.0.0.1:PORT/ball, 15 pictures a second, and at /udp without TCP for the
pictures. Says "ready" when it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
for path, transports in (
    ("/ball", GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP),
    ("/udp", GstRtsp.RTSPLowerTrans.UDP),
):
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(
        "( videotestsrc is-live=true pattern=ball"
        " ! video/x-raw,width=320,height=240,framerate=15/1"
        " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15"
        " ! rtph264pay name=pay0 )"
    )
    factory.set_protocols(transports)
    server.get_mount_points().add_factory(path, factory)
if not server.attach(None):
    sys.exit("cannot listen")
print("ready", flush=True)
GLib.MainLoop().run()
