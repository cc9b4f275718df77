#!/bin/bash
# A run over several machines without a scheduler: start this on each of them, with the same HEAD and RUN_ID.
#   HEAD=node-1 NODES=2 RUN_ID=prose RECIPE=recipes/prose.yaml deploy/torchrun.sh
# The run directory (BANYAN_RUNS) and the data must lie on storage that all machines see.
set -euo pipefail
: "${RECIPE:?name a recipe}" "${HEAD:?name the machine where the processes meet}"

# A restarted rank must not be looked for where a dead one listened (pytorch issue 135712).
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=120

exec torchrun --nnodes "${NODES:-2}" --nproc-per-node "${PROCESSES:-gpu}" --max-restarts 3 \
  --rdzv-backend c10d --rdzv-endpoint "$HEAD:29500" --rdzv-id "${RUN_ID:-banyan}" \
  -m banyan train "$RECIPE" --resume
