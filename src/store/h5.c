#include "refract/store/h5.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "h5_private.h"

/* A file whose last flush failed (disk full) stays half-closed inside HDF5, which would try again,
   and crash, when MPI ends. So HDF5 is started before MPI, where it hooks into neither exit; all
   files are closed by name here, and nothing is left to do at the end. */
__attribute__((constructor)) static void start_before_mpi(void)
{
    H5dont_atexit();
    H5open();
}

static int is_creating(rf_h5_mode mode)
{
    return mode == RF_H5_CREATE || mode == RF_H5_CREATE_LIVE;
}

static int is_live(rf_h5_mode mode)
{
    return mode == RF_H5_READ_LIVE || mode == RF_H5_CREATE_LIVE;
}

/* File access: latest format (its metadata carry checksums); locks where the file system has them.
 */
static hid_t access_properties(rf_h5_mode mode, MPI_Comm comm)
{
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    herr_t status = H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    if (status >= 0) status = H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
    if (status >= 0) status = H5Pset_file_locking(access, !is_live(mode), 1);
    if (comm != MPI_COMM_NULL) {
        if (status >= 0) status = H5Pset_fapl_mpio(access, comm, MPI_INFO_NULL);
        if (status >= 0) status = H5Pset_all_coll_metadata_ops(access, 1);
        if (status >= 0) status = H5Pset_coll_metadata_write(access, 1);
    }
    if (status >= 0) return access;
    rf_h5_drop(access);
    return -1;
}

/* Opens the handle; the system's own words are better than HDF5's where a file is not there. */
static rf_status open_handle(rf_h5 *file, rf_h5_mode mode)
{
    if (!is_creating(mode) && access(file->path, file->writing ? R_OK | W_OK : R_OK) != 0)
        return rf_fail(file->writing ? RF_WRITE : RF_INPUT,
                       "cannot open '%s': %s. Check the path and its permissions", file->path,
                       strerror(errno));
    const hid_t properties = access_properties(mode, file->comm);
    if (properties < 0) return rf_h5_fail(file, "open", NULL);
    if (is_creating(mode))
        file->id = H5Fcreate(file->path, H5F_ACC_TRUNC, H5P_DEFAULT, properties);
    else
        file->id = H5Fopen(file->path,
                           mode == RF_H5_EDIT        ? H5F_ACC_RDWR
                           : mode == RF_H5_READ_LIVE ? H5F_ACC_RDONLY | H5F_ACC_SWMR_READ
                                                     : H5F_ACC_RDONLY,
                           properties);
    rf_h5_drop(properties);
    if (file->id < 0) return rf_h5_fail(file, is_creating(mode) ? "create" : "open", NULL);
    return RF_OK;
}

rf_status rf_h5_open(rf_h5 **file, const char *path, rf_h5_mode mode, MPI_Comm comm)
{
    RF_ASSERT(comm == MPI_COMM_NULL || !is_live(mode), "'%s': live files are serial", path);
    *file = NULL;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* failures speak through the status alone */
    rf_h5 *opened = calloc(1, sizeof *opened);
    char *copy = strdup(path);
    RF_ASSERT(opened && copy, "no memory for a file handle");
    *opened = (rf_h5){.id = -1,
                      .comm = comm,
                      .path = copy,
                      .writing = mode != RF_H5_READ && mode != RF_H5_READ_LIVE};
    const rf_status status = rf_h5_agree(opened, open_handle(opened, mode));
    if (status == RF_OK) {
        *file = opened;
        return RF_OK;
    }
    /* a rank that did open the file must not close it alone: closing is collective */
    if (opened->id >= 0 && comm == MPI_COMM_NULL) H5Fclose(opened->id);
    free(copy);
    free(opened);
    return status;
}

rf_status rf_h5_flush(rf_h5 *file)
{
    const int done = H5Fflush(file->id, H5F_SCOPE_GLOBAL) >= 0;
    return rf_h5_agree(file, done ? RF_OK : rf_h5_fail(file, "flush", NULL));
}

rf_status rf_h5_close(rf_h5 **file)
{
    rf_h5 *closing = *file;
    if (!closing) return RF_OK;
    *file = NULL;
    const int done = H5Fclose(closing->id) >= 0;
    const rf_status status =
        rf_h5_agree(closing, done ? RF_OK : rf_h5_fail(closing, "close", NULL));
    free(closing->path);
    free(closing);
    return status;
}

rf_status rf_h5_go_live(rf_h5 *file)
{
    return H5Fstart_swmr_write(file->id) >= 0 ? RF_OK : rf_h5_fail(file, "make readable", NULL);
}

const char *rf_h5_path(const rf_h5 *file)
{
    return file->path;
}
