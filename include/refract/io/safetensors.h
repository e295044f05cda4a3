/**
 * safetensors: one file, or a folder with model.safetensors or the shards of
 * model.safetensors.index.json. Source: huggingface/safetensors README.md section Format,
 * safetensors/src/tensor.rs.
 */
#ifndef RF_IO_SAFETENSORS_H
#define RF_IO_SAFETENSORS_H

#include <stdint.h>

#include "refract/comm/grid.h"
#include "refract/io/checkpoint.h"
#include "refract/linalg/tensor.h"

enum { RF_SAFETENSORS_DIMS = 8 };

/** What a file says of one tensor. (The table of a GGUF file is read by the same functions, see
 * model_files.h.) */
typedef struct rf_tensor_info {
    const char *name;  /**< borrowed from the rf_safetensors */
    const char *dtype; /**< as the format spells it: "BF16" */
    int known;         /**< 1: `type` is its type; 0: a type that can only be listed */
    rf_dtype type;
    int dims; /**< 0 = one number */
    int64_t dim[RF_SAFETENSORS_DIMS];
    int64_t items;
    uint64_t begin, bytes; /**< place in its file */
    int file;              /**< which shard */
    int64_t interleaved;   /**< rows of a head whose halves the file interleaves; 0: none */
} rf_tensor_info;

/** Open files with their checked table of tensors. */
typedef struct rf_safetensors rf_safetensors;

/**
 * Opens `path` (a .safetensors file, an index.json or a folder) and checks every header: duplicate
 * names, holes, overlaps, sizes, overflow, truncation, shards against the index. No tensor is read.
 * The caller owns *st. Local; RF_INPUT names file and tensor, RF_RESOURCES.
 */
rf_status rf_safetensors_open(rf_safetensors **st, const char *path);
/** The same on all ranks; *st is NULL everywhere when one failed. Collective over comm. */
rf_status rf_safetensors_open_all(rf_safetensors **st, MPI_Comm comm, const char *path);
void rf_safetensors_close(rf_safetensors **st);

/** The tensors in order of their names; NULL from find where there is none. Borrowed. Local. */
int64_t rf_safetensors_count(const rf_safetensors *st);
const rf_tensor_info *rf_safetensors_at(const rf_safetensors *st, int64_t index);
const rf_tensor_info *rf_safetensors_find(const rf_safetensors *st, const char *name);
/** Path of a shard, for messages. Borrowed. Local. */
const char *rf_safetensors_path(const rf_safetensors *st, int file);

/**
 * Reads a whole tensor of `items` items into data, converted to `dtype`. Local; RF_INPUT when it is
 * absent or has another number of items.
 */
rf_status rf_safetensors_load(const rf_safetensors *st, const char *name, rf_dtype dtype,
                              void *data, int64_t items);

/**
 * Reads slices [begin, end) of the tensor field->path into field->data (what rf_shape_scatter would
 * put there), converted to field->dtype as rf_convert does; integers only into their own type. Only
 * the bytes of these slices are read. A shape [rows, 1] is a vector or a matrix of one column.
 * Local; RF_INPUT names file and tensor, shows both shapes.
 */
rf_status rf_safetensors_read_slices(const rf_safetensors *st, const rf_field *field, int begin,
                                     int end);

/**
 * Reads this rank's slices of every field that has data (others are checked only). All must be
 * there with their shapes, and nothing else may be in the files but tensors computed anew
 * (`rotary_emb.inv_freq`) and the `ignored` names. Collective over the grid's world; RF_INPUT, the
 * same on all ranks.
 */
rf_status rf_safetensors_read(const rf_safetensors *st, const rf_grid *grid, const rf_field *fields,
                              int64_t count, const char *const *ignored, int ignored_count);

/**
 * Data of field number `index` when its turn comes: *data <- this rank's slices in the field's
 * type, borrowed until the next call. So only one tensor at a time need be in memory. Local; any
 * failure.
 */
typedef rf_status rf_field_fill(void *context, int64_t index, const void **data);

/** How files are written; zeroed: one file, types as in memory, [rows, 1] as vectors. */
typedef struct rf_safetensors_options {
    const rf_dtype *dtype;   /**< type in the file of all fields, NULL = as in memory */
    const uint8_t *matrix;   /**< [count] 1: [rows, 1] is a matrix of one column; NULL = vectors */
    int64_t max_shard_bytes; /**< 0 = one file; else shards and an index */
    const char *stem;        /**< file name, "model" if NULL */
    rf_field_fill *fill;     /**< NULL: every field has its data */
    void *context;           /**< of fill */
} rf_safetensors_options;

/**
 * Writes folder/STEM.safetensors (or STEM-00001-of-0000N.safetensors and
 * STEM.safetensors.index.json), the global tensors collected on root one at a time, in the layout
 * of the reference writer: larger types first, then by name. Files get their names when all are
 * complete and synced. The folder exists;
 * options may be NULL. Collective over the grid's world; arguments equal on all
 * ranks. RF_WRITE, RF_RESOURCES.
 */
rf_status rf_safetensors_write(const rf_grid *grid, const char *folder, const rf_field *fields,
                               int64_t count, const rf_safetensors_options *options);

#endif
