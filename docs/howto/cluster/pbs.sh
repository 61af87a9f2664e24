#!/bin/bash
#PBS -N refbench
#PBS -J 0-7
#PBS -r y
#PBS -l select=1:ncpus=2:mem=8gb
#PBS -l walltime=04:00:00
#PBS -j oe
# Submit:  job=$(qsub pbs.sh)
# Join:    qsub -W depend=afterany:$job -- "$(command -v refbench)" merge "$PWD/study"
# Torque calls the variable PBS_ARRAYID, and the option -t 0-7.
set -eu
cd "${PBS_O_WORKDIR:-.}"
SUITE=${SUITE:-study.yaml}
OUT=${OUT:-study}
OF=${OF:-8}
refbench shard "$SUITE" --out "$OUT" --of "$OF" --index "$PBS_ARRAY_INDEX" --workers "${NCPUS:-1}"
