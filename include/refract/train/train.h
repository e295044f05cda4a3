/** The command `train`: from a configuration to a trained adapter. */
#ifndef RF_TRAIN_TRAIN_H
#define RF_TRAIN_TRAIN_H

#include <mpi.h>

#include "refract/base/config.h"
#include "refract/base/log.h"
#include "refract/base/status.h"
#include "refract/train/resident.h"

/** What a command knows of its process besides the configuration. */
typedef struct rf_environment {
    MPI_Comm world;                /**< borrowed */
    rf_log *log;                   /**< borrowed */
    int threads;                   /**< of this rank */
    double start;                  /**< rf_clock_seconds() when the program began */
    const char *command_line;      /**< borrowed, as the next two */
    const char *blas;              /**< version and kernels of the BLAS */
    const char *program;           /**< SHA-256 of the executable */
    const rf_resident *resident;   /**< a base that is held already; NULL = none; borrowed */
    const char *const *stop_files; /**< besides OUTPUT/STOP, up to a NULL; NULL = none; borrowed */
} rf_environment;

/**
 * Trains, or goes on where the output folder's newest checkpoint stands. is_dry: prints layout,
 * memory plan and disk need and leaves no trace. Collective over world; every status of the
 * program.
 */
rf_status rf_train(rf_config *config, const rf_environment *environment, int is_dry);

#endif
