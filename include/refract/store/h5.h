/**
 * HDF5 files: opened, described, read and written by slabs, with every failure turned into a status
 * that names the file and the object and carries HDF5's own words.
 *
 * A file is serial (comm = MPI_COMM_NULL: one process, every call is local) or parallel (MPI-IO:
 * every call is collective over comm and returns the same status everywhere, except where a
 * contract says Local). Failures are RF_WRITE on files opened to be changed, RF_INPUT on files
 * opened for reading. Written files use the latest format, whose metadata carry checksums.
 */
#ifndef RF_STORE_H5_H
#define RF_STORE_H5_H

#include <mpi.h>
#include <stdint.h>

#include "refract/base/dtype.h"
#include "refract/base/status.h"

typedef struct rf_h5 rf_h5;         /**< an open file; owns its handle */
typedef struct rf_h5_set rf_h5_set; /**< an open dataset; borrows its file */

typedef enum rf_h5_mode {
    RF_H5_READ,      /**< an existing file */
    RF_H5_EDIT,      /**< an existing file, to be changed */
    RF_H5_CREATE,    /**< a new file; replaces one of that name */
    RF_H5_READ_LIVE, /**< serial: a file that is being written, or whose writer was killed (SWMR) */
    RF_H5_CREATE_LIVE /**< serial: a new file without locks, for rf_h5_go_live */
} rf_h5_mode;

/** Opens `path`; the caller owns *file (NULL on failure). comm is duplicated by HDF5. */
rf_status rf_h5_open(rf_h5 **file, const char *path, rf_h5_mode mode, MPI_Comm comm);

/** Hands everything to the operating system. */
rf_status rf_h5_flush(rf_h5 *file);

/** Closes; *file is NULL afterwards. Accepts NULL. A failure means data may be missing. */
rf_status rf_h5_close(rf_h5 **file);

/**
 * From here on readers may follow (single writer, multiple readers): no object or attribute can be
 * made any more, rows can be appended. RF_H5_CREATE_LIVE files only.
 */
rf_status rf_h5_go_live(rf_h5 *file);

/** The path it was opened with. Borrowed. Local. */
const char *rf_h5_path(const rf_h5 *file);

enum { RF_H5_DIMS = 3 };

/**
 * Makes `path` a link to the object `target_path` of another file, whose name is looked for beside
 * this file. That file need not be there.
 */
rf_status rf_h5_link(rf_h5 *file, const char *path, const char *target_file,
                     const char *target_path);

/** Type and extent of a dataset. */
typedef struct rf_h5_layout {
    rf_dtype dtype; /**< bf16 is stored as uint16 with attribute encoding = "bfloat16" */
    int text;       /**< > 0: strings (UTF-8) of up to this many bytes; dtype is ignored */
    int dims;       /**< 1 .. RF_H5_DIMS */
    int64_t size[RF_H5_DIMS];
    int64_t
        chunk; /**< > 0: grows along the first axis, this many rows per chunk; serial files only */
} rf_h5_layout;

/** Layouts of fixed size: [n], and [rows, cols]. Local. */
rf_h5_layout rf_h5_vector(rf_dtype dtype, int64_t n);
rf_h5_layout rf_h5_matrix(rf_dtype dtype, int64_t rows, int64_t cols);

/** Makes a dataset and the groups on its way. */
rf_status rf_h5_create_set(rf_h5 *file, const char *path, const rf_h5_layout *layout);

/** Layout of an existing dataset; of a type not in rf_dtype: failure. */
rf_status rf_h5_layout_of(rf_h5 *file, const char *path, rf_h5_layout *layout);

/** 1 if there is an object of that path. Failures count as absent. */
int rf_h5_has(rf_h5 *file, const char *path);

/**
 * Reads or writes the slab [begin, begin + count) of a dataset, `dims` numbers each, from or to a
 * dense row-major array. begin = count = NULL: all of it. dtype must be the dataset's own (nothing
 * is converted). On a parallel file ranks name different slabs, and a rank with nothing to do a
 * count of 0.
 */
rf_status rf_h5_write(rf_h5 *file, const char *path, rf_dtype dtype, const int64_t *begin,
                      const int64_t *count, const void *data);
rf_status rf_h5_read(rf_h5 *file, const char *path, rf_dtype dtype, const int64_t *begin,
                     const int64_t *count, void *data);

/** Opens a dataset for several transfers; close it before the file. Close is local. */
rf_status rf_h5_set_open(rf_h5_set **set, rf_h5 *file, const char *path);
void rf_h5_set_close(rf_h5_set **set);
/** Borrowed. Local. */
const rf_h5_layout *rf_h5_set_layout(const rf_h5_set *set);

/** As rf_h5_write and rf_h5_read. Local, on parallel files too (independent transfer). */
rf_status rf_h5_set_write(rf_h5_set *set, rf_dtype dtype, const int64_t *begin,
                          const int64_t *count, const void *data);
rf_status rf_h5_set_read(rf_h5_set *set, rf_dtype dtype, const int64_t *begin, const int64_t *count,
                         void *data);

/** Adds `rows` rows to a dataset that grows; what readers see after rf_h5_set_flush. Serial files.
 */
rf_status rf_h5_set_append(rf_h5_set *set, rf_dtype dtype, int64_t rows, const void *data);
rf_status rf_h5_set_flush(rf_h5_set *set);

/**
 * Strings [begin, begin + count) of a 1-D dataset of strings, packed in fields of layout.text bytes
 * padded with NUL (a full field has no NUL). Append as rf_h5_set_append. Local.
 */
rf_status rf_h5_set_write_text(rf_h5_set *set, int64_t begin, int64_t count, const char *packed);
rf_status rf_h5_set_read_text(rf_h5_set *set, int64_t begin, int64_t count, char *packed);
rf_status rf_h5_set_append_text(rf_h5_set *set, int64_t count, const char *packed);

/**
 * Attributes of the object `path` ("/" is the file's root). Writing replaces; on parallel files all
 * ranks pass the same value. Strings are UTF-8 of fixed length, any length.
 */
rf_status rf_h5_put_text(rf_h5 *file, const char *path, const char *name, const char *text);
rf_status rf_h5_put_int(rf_h5 *file, const char *path, const char *name, int64_t value);
rf_status rf_h5_put_number(rf_h5 *file, const char *path, const char *name, double value);
/** Attributes `unit` and `description`. */
rf_status rf_h5_describe(rf_h5 *file, const char *path, const char *unit, const char *description);

/** Attribute values; text is malloc'ed, NUL-terminated, owned by the caller. Absent: failure. */
rf_status rf_h5_get_text(rf_h5 *file, const char *path, const char *name, char **text);
rf_status rf_h5_get_int(rf_h5 *file, const char *path, const char *name, int64_t *value);
rf_status rf_h5_get_number(rf_h5 *file, const char *path, const char *name, double *value);
/** 1 if the object is there and has the attribute. */
int rf_h5_has_attribute(rf_h5 *file, const char *path, const char *name);
/** 1 if that attribute is a string. */
int rf_h5_is_text(rf_h5 *file, const char *path, const char *name);

/** Called with the path of a dataset ("/a/b") or the name of an attribute; a failure ends the walk.
 */
typedef rf_status rf_h5_visitor(void *context, const char *name);
/** Visits every dataset of the file, in order of names, and every attribute of an object. */
rf_status rf_h5_each_set(rf_h5 *file, rf_h5_visitor *visit, void *context);
rf_status rf_h5_each_attribute(rf_h5 *file, const char *path, rf_h5_visitor *visit, void *context);

#endif
