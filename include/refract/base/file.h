/** Whole files: read at once, written so that a name never holds half of one. */
#ifndef RF_BASE_FILE_H
#define RF_BASE_FILE_H

#include <stddef.h>

#include "refract/base/status.h"

/**
 * Reads `path`: *bytes is malloc'ed with a NUL after the last byte and owned by the caller.
 * RF_INPUT when it is missing, unreadable, no plain file or longer than `most` bytes; RF_RESOURCES.
 * Local.
 */
rf_status rf_file_read(char **bytes, size_t *length, const char *path, size_t most);

/**
 * Writes a file whole or not at all: temporary name beside it, fsync, rename, fsync of the folder.
 * A file that was there before stays until the new one is complete. RF_WRITE. Local.
 */
rf_status rf_file_write(const char *path, const void *bytes, size_t length);

/**
 * The last half of it, for files written in other ways: syncs the finished file `temporary`, gives
 * it the name `path` and syncs the folder. RF_WRITE, and then `temporary` is removed. Local.
 */
rf_status rf_file_publish(const char *temporary, const char *path);

/** A name for that temporary file: path + ".tmp". RF_WRITE when it does not fit. Local. */
rf_status rf_file_temporary(char *temporary, size_t bytes, const char *path);

/** Makes a folder and those above it; one that exists is fine. RF_WRITE. Local. */
rf_status rf_folder_make(const char *path);

#endif
