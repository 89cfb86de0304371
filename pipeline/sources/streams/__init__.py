"""Video as cameras: files, RTSP, MJPEG, V4L2."""
