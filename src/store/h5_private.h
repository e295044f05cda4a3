/** What the files of the HDF5 wrapper share. */
#ifndef RF_STORE_H5_PRIVATE_H
#define RF_STORE_H5_PRIVATE_H

#include <hdf5.h>

#include "refract/store/h5.h"

struct rf_h5 {
    hid_t id;
    MPI_Comm comm; /* borrowed; MPI_COMM_NULL: serial */
    int writing;
    char *path; /* owned */
};

/**
 * Fails with "cannot DOING 'OBJECT' of 'FILE': HDF5's reason. HINT"; object may be NULL.
 * Code by the way the file was opened. Clears HDF5's error stack. Local.
 */
rf_status rf_h5_fail(const rf_h5 *file, const char *doing, const char *object);

/** The status all ranks of the file go on with. Collective on parallel files. */
rf_status rf_h5_agree(const rf_h5 *file, rf_status local);

/** Gives back any kind of HDF5 handle; negative ones are none. Local. */
void rf_h5_drop(hid_t id);

/** Opens the object that `path` names, -1 if there is none. */
hid_t rf_h5_object(const rf_h5 *file, const char *path);

#endif
