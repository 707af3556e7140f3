#!/bin/bash
# Three tasks share the cases of a study:  sbatch slurm.sh
# The nodes need: pip install "idfkit-fs[s3,energyplus,pandas,cli]"
#SBATCH --job-name=study-001
#SBATCH --array=0-2
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue

# srun starts a job step: SLURM sends SIGTERM to job steps, not to the script.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  idfkit-fs run s3://my-bucket/study-001 --max-workers "$SLURM_CPUS_PER_TASK"
