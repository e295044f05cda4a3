/** The model's table and the files: rows as fields, base weights read in. */
#ifndef RF_IO_WEIGHTS_H
#define RF_IO_WEIGHTS_H

#include <mpi.h>

#include "refract/io/checkpoint.h"
#include "refract/model/decoder.h"

/** Which rows of the table. */
typedef enum rf_rows {
    RF_ROWS_BASE,    /**< of the base model */
    RF_ROWS_ADAPTER, /**< of adapters */
    RF_ROWS_TRAINED, /**< whatever is trained */
    RF_ROWS_PEFT     /**< of it, what PEFT folders hold */
} rf_rows;

/**
 * The rows as fields whose path is the tensor's name; *fields is malloc'ed and owned by the caller.
 * Local; RF_RESOURCES.
 */
rf_status rf_params_fields(const rf_params *params, rf_rows rows, rf_field **fields,
                           int64_t *count);

/**
 * Reads the base weights from a model folder or file: every tensor must be there with its shape,
 * and nothing else. `tied`: a superfluous lm_head.weight is passed over; rows that another rank
 * fills are left to it. Collective over the grid's world; RF_INPUT names file and tensor.
 */
rf_status rf_weights_load(const rf_grid *grid, const rf_params *params, const char *path, int tied);

/**
 * The same for a model of which a prune has left a part: every tensor is read and what is left of
 * it is kept. Collective over the decoder's world; RF_INPUT, RF_RESOURCES.
 */
rf_status rf_weights_load_pruned(const rf_decoder *decoder, const rf_pruning *pruning,
                                 const char *path);

/**
 * SHA-256 (65 bytes with NUL) over names, types, shapes and bytes of all tensors of a model; ranks
 * share the hashing out. Collective over comm; RF_INPUT, RF_RESOURCES.
 */
rf_status rf_weights_digest(MPI_Comm comm, const char *path, char *hex);

#endif
