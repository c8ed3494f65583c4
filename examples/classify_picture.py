"""Prints the expression of each face in a picture.

python examples/classify_picture.py group.jpg
"""

import sys

from edge_runtime import Classifier, classify_still, open_detector, open_source

if len(sys.argv) != 2:
    sys.exit(__doc__)
classifier = Classifier.load()  # the released model, or Classifier.load("file.tflite")
detector = open_detector()  # YuNet with fer-edge[yunet], else Haar

with open_source(sys.argv[1]) as source:  # a folder works, too
    for frame in source:
        for face in classify_still(frame, detector, classifier).faces:
            print(f"{frame.name}: {face.label} ({face.confidence:.0%})", face.box_xywh)
