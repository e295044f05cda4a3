# shellcheck shell=bash
# A cluster that runs Apptainer images: RF_SITE=jobs/sites/apptainer.sh sbatch jobs/one-node.sh ...
# The image is made once, where you may build images:  apptainer build refract.sif jobs/sites/refract.def
# srun starts a container per rank; the Open MPI inside (4.1) speaks PMIx with the SLURM outside, so
# `srun --mpi=list` must name pmix. No MPI is needed on the host.
image=${RF_IMAGE:-${SLURM_SUBMIT_DIR:-$PWD}/refract.sif}
[ -e "$image" ] || { echo "no image $image (RF_IMAGE); see ${BASH_SOURCE[0]}" >&2; return 2; }

# Bind what the runs read and write beside the working folder: RF_BIND=/scratch,/data
# shellcheck disable=SC2034 # read by jobs/step.sh
refract=(apptainer exec --bind "$PWD${RF_BIND:+,$RF_BIND}" --pwd "$PWD" "$image" refract)

# Each rank is in a container of its own: shared memory between ranks without a look into each other's.
export OMPI_MCA_btl_vader_single_copy_mechanism=none
