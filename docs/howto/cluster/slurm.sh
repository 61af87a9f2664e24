#!/bin/bash
#SBATCH --job-name=refbench
#SBATCH --array=0-7
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=refbench-%A-%a.log
# Submit:  job=$(sbatch --parsable slurm.sh)
# Join:    sbatch --dependency=afterany:$job --wrap "refbench merge study"
set -eu
SUITE=${SUITE:-study.yaml}
OUT=${OUT:-study}
# Not SLURM_ARRAY_TASK_COUNT: that is 1 where one element is submitted again by itself.
OF=${OF:-8}
refbench shard "$SUITE" --out "$OUT" --of "$OF" --index "$SLURM_ARRAY_TASK_ID" --workers "${SLURM_CPUS_PER_TASK:-1}"
