"""Your own loop: frames from OpenCV, a ``Pipeline``, your own drawing and output.

python examples/own_loop.py clip.mp4 annotated.avi
"""

import sys

import cv2

from edge_runtime import Classifier, DecisionConfig, Frame, Pipeline, open_detector

GREEN_BGR = (0, 200, 0)

if len(sys.argv) != 3:
    sys.exit(__doc__)
capture = cv2.VideoCapture(sys.argv[1])
fps = capture.get(cv2.CAP_PROP_FPS)
width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
codec = cv2.VideoWriter.fourcc(*"MJPG")
writer = cv2.VideoWriter(sys.argv[2], codec, fps, (width, height))
pipeline = Pipeline(
    open_detector(),
    Classifier.load(),
    decisions=DecisionConfig(uncertain_below=0.6),
)

index = 0
while True:
    ok, image = capture.read()
    if not ok:
        break
    result = pipeline.process(Frame(image, index, index / fps, sys.argv[1]))
    for face in result.faces:
        x, y, w, h = face.box_xywh
        text = f"{face.track_id}: {face.decision.label} {face.decision.confidence:.0%}"
        cv2.rectangle(image, (x, y, w, h), GREEN_BGR, 2)
        cv2.putText(image, text, (x, y - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.6, GREEN_BGR)
    writer.write(image)
    index += 1

capture.release()
writer.release()
print(f"{index} frames written to {sys.argv[2]}")
