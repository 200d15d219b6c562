#!/usr/bin/env bash
# Train under Slurm:
#   GPUS=16 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS='--quotatype=auto' tools/slurm_train.sh PARTITION JOB_NAME CONFIG
# One process for each GPU. GRES= (empty) asks for none: for a partition of CPUs.
set -euo pipefail

if [[ $# -lt 3 ]]; then
    echo "Usage: [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 GRES=gpu:8 SRUN_ARGS= PORT=29500] $0 PARTITION JOB_NAME CONFIG" \
        "[options of tools/train.py]" >&2
    exit 2
fi
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
GRES=${GRES-gpu:$GPUS_PER_NODE}
export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}" MASTER_PORT="${PORT:-29500}"

# SRUN_ARGS is several words
# shellcheck disable=SC2086
exec srun --partition="$1" --job-name="$2" ${GRES:+--gres="$GRES"} \
    --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} "${PYTHON:-python}" -u "$TOOLS/train.py" "$3" --launcher slurm "${@:4}"
