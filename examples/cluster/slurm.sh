#!/bin/bash
# One training on several nodes:
#
#   sbatch examples/cluster/slurm.sh --data /shared/photos
#
# Submit it in the checkout, which all nodes see; RUN is the run folder. Two minutes before the
# time is up every task is told: the training ends with its figures. Requeued, or submitted
# again with the same RUN, it goes on after its last epoch, on any number of nodes.
#SBATCH --job-name=fer-edge
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

RUN=${RUN:-runs/slurm}
PYTHON=${PYTHON:-.venv/bin/python}
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}  # srun does not take it from sbatch

if [[ -e $RUN/config.json ]]; then
    exec srun --kill-on-bad-exit=0 "$PYTHON" -m train --resume "$RUN"
fi
exec srun --kill-on-bad-exit=0 "$PYTHON" -m train --name "$RUN" "$@"
