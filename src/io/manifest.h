/** What a checkpoint holds: its arrays with their digests, its root attributes as text. */
#ifndef RF_IO_MANIFEST_H
#define RF_IO_MANIFEST_H

#include "refract/store/digest.h"
#include "refract/store/h5.h"

/** Attribute names that the format itself uses. */
#define RF_DIGEST_ATTRIBUTE "sha256" /**< of a dataset's content in file order */
#define RF_CONTENT_ATTRIBUTE                                                                       \
    "content_sha256" /**< of the manifest: every path, shape, digest, attribute */

typedef struct rf_entry {
    char *path; /**< owned */
    int64_t rows, cols;
    rf_dtype dtype;
    char sha256[RF_DIGEST_BYTES];
} rf_entry;

typedef struct rf_note {
    char *name, *text; /**< owned */
} rf_note;

/** Owns everything; zero-initialise. Sorted by path and name once complete. */
typedef struct rf_manifest {
    rf_entry *entries;
    int64_t entry_count;
    rf_note *notes;
    int64_t note_count;
} rf_manifest;

/** Copies in one array or attribute. RF_RESOURCES. Local. */
rf_status rf_manifest_add(rf_manifest *manifest, const char *path, int64_t rows, int64_t cols,
                          rf_dtype dtype, const char *sha256);
rf_status rf_manifest_note(rf_manifest *manifest, const char *name, const char *text);

/** Lists what an open serial file holds, sorted. RF_INPUT, RF_RESOURCES. Local. */
rf_status rf_manifest_read(rf_manifest *manifest, rf_h5 *file);

/** Sorts, then digests every line of it. RF_RESOURCES. Local. */
rf_status rf_manifest_digest(rf_manifest *manifest, char hex[RF_DIGEST_BYTES]);

/** Lookup in a sorted manifest; NULL if absent. Borrowed. Local. */
const rf_entry *rf_manifest_find(const rf_manifest *manifest, const char *path);
const char *rf_manifest_text(const rf_manifest *manifest, const char *name);

/** Compares the digest with the file's own: a missing array, a changed attribute. RF_INPUT. Local.
 */
rf_status rf_manifest_check(rf_manifest *manifest, rf_h5 *file);

/** Rows that are read, digested or sent at a time: about RF_BLOCK_BYTES, at least one. Local. */
enum { RF_BLOCK_BYTES = 1 << 20 };
int64_t rf_entry_block(const rf_entry *entry);

/** RF_OK when `hex` is the digest the array was written with; RF_INPUT names it. Local. */
rf_status rf_entry_compare(const rf_entry *entry, rf_h5 *file, const char *hex);

/** Adds the content of an array in file order to a digest. RF_INPUT, RF_RESOURCES. Local. */
rf_status rf_entry_digest(const rf_entry *entry, rf_h5 *file, rf_digest *digest);

/** Reads one array and compares its digest. RF_INPUT names file and dataset. Local. */
rf_status rf_entry_verify(const rf_entry *entry, rf_h5 *file);

void rf_manifest_free(rf_manifest *manifest);

#endif
