# shellcheck shell=bash
# A cluster with environment modules and a build of its own: RF_SITE=jobs/sites/modules.sh sbatch jobs/one-node.sh ...
# Copy this file and put in the names of your site (module avail openmpi hdf5 openblas). Build on a node of the kind that
# runs the jobs, with the same modules:  . jobs/sites/modules.sh && bash jobs/build.sh release refract
module purge
module load gcc openmpi hdf5 openblas # Open MPI with PMIx (srun --mpi=list names pmix), HDF5 built with it

# shellcheck disable=SC2034 # read by jobs/step.sh
refract=("${SLURM_SUBMIT_DIR:-$PWD}/build/refract")

# Some Lustre and NFS mounts refuse file locks, which HDF5 would take.
export HDF5_USE_FILE_LOCKING=${HDF5_USE_FILE_LOCKING:-FALSE}
