"""Sums up the JSON lines of a run: for how long each face had each label.

python -m edge_runtime run --source clip.mp4 --json | python examples/read_json_lines.py
"""

import json
import sys
from collections import defaultdict

seconds = defaultdict(float)
previous_s = None

for line in sys.stdin:
    frame = json.loads(line)
    if frame["schema"] != "fer-edge/frame/4":
        sys.exit(f"expected fer-edge/frame/4, got {frame['schema']}")
    elapsed_s = 0.0 if previous_s is None else frame["time_s"] - previous_s
    previous_s = frame["time_s"]
    # The list is called "objects" where the model does not look at faces.
    for face in frame.get("faces", frame.get("objects")):
        seconds[face["track"], face["decision"]["label"]] += elapsed_s

for (track, label), duration_s in sorted(seconds.items()):
    print(f"{frame['subject']} {track}: {label:10} {duration_s:6.1f} s")
