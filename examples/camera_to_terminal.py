"""Prints what happens in front of a camera: faces appear, change, leave.

python examples/camera_to_terminal.py 0
python examples/camera_to_terminal.py 'fake:scene?faces=2'    # no camera: drawn faces
"""

import sys
from contextlib import closing, suppress

from edge_runtime import (
    CameraSettings,
    Classifier,
    Pipeline,
    RoundRobinScheduler,
    open_detector,
    open_source,
)

if len(sys.argv) != 2:
    sys.exit(__doc__)
pipeline = Pipeline(
    open_detector(),
    Classifier.load(num_threads=2),
    wait_for_detector=False,  # detect in the background, so that frames stay young
    scheduler=RoundRobinScheduler(),  # more faces than time: they take turns
)
settings = CameraSettings(size_wh=(640, 480))

with (
    suppress(KeyboardInterrupt),  # Ctrl-C ends it
    closing(pipeline),
    open_source(sys.argv[1], settings=settings) as source,
):
    for frame in source:  # always the newest; a frozen camera is opened again
        for event in pipeline.process(frame).events:
            print(f"{event.timestamp_s:7.2f} s  face {event.track_id}", end="  ")
            print(f"{event.kind.replace('_', ' ')}: {event.label}", flush=True)
