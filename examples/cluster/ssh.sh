#!/bin/bash
# One training on several machines, over ssh:
#
#   examples/cluster/ssh.sh node1 node2 -- --data photos/ --name photos
#   examples/cluster/ssh.sh node1 node2 -- --resume photos
#
# Each machine has the checkout in the same folder (FOLDER, else the one that you are in) and
# the images. The first one has the run, and must be reached by the others under the name given
# here, at PORT and others. Ctrl-C ends the training on all of them, after which the first one
# measures it: its figures are in the run.
set -euo pipefail

PORT=${PORT:-8476}
FOLDER=${FOLDER:-$PWD}
PYTHON=${PYTHON:-.venv/bin/python}

hosts=()
while (($#)) && [[ $1 != -- ]]; do
    hosts+=("$1")
    shift
done
if ((${#hosts[@]} < 2 || $# < 2)); then
    echo "usage: $0 HOST HOST... -- FLAGS OF python -m train" >&2
    exit 2
fi
shift

flags=$(printf ' %q' "$@")
place="--coordinator ${hosts[0]}:$PORT --processes ${#hosts[@]}"
pids=()
for number in "${!hosts[@]}"; do
    command="cd $(printf %q "$FOLDER") && exec $PYTHON -m train $place --process $number$flags"
    # With a terminal there, Ctrl-C and a lost connection reach the training.
    ssh -tt -o BatchMode=yes "${hosts[number]}" "$command" </dev/null &
    pids+=($!)
done
# It ends ssh, and with it the terminals there; jobs of a script ignore SIGINT.
trap 'kill -TERM "${pids[@]}" 2>/dev/null || true' INT TERM

code=0
for pid in "${pids[@]}"; do
    while kill -0 "$pid" 2>/dev/null; do
        wait "$pid" && one=0 || one=$?
    done
    ((one > code)) && code=$one
done
exit "$code"
