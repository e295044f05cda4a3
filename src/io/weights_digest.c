/* One digest of a base model, so that a resumed run knows it again. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "refract/comm/agree.h"
#include "refract/io/model_files.h"
#include "refract/io/weights.h"
#include "refract/store/digest.h"

enum { PIECE = 1 << 22 };

static rf_status add_bytes(rf_digest *digest, int file, const rf_tensor_info *info,
                           const char *path, char *buffer)
{
    for (uint64_t at = 0; at < info->bytes;) {
        const size_t wish = info->bytes - at < PIECE ? (size_t)(info->bytes - at) : PIECE;
        const ssize_t got = pread(file, buffer, wish, (off_t)(info->begin + at));
        if (got <= 0)
            return rf_fail(RF_INPUT, "cannot read tensor '%s' (%s): %s. Fetch the file again",
                           info->name, path, got < 0 ? strerror(errno) : "the file has shrunk");
        rf_digest_add(digest, buffer, (size_t)got);
        at += (uint64_t)got;
    }
    return RF_OK;
}

/* Name, type, shape and bytes of one tensor. */
static rf_status tensor_digest(char hex[RF_DIGEST_BYTES], const rf_safetensors *st,
                               const rf_tensor_info *info, char *buffer)
{
    rf_digest digest;
    const char *path = rf_safetensors_path(st, info->file);
    const int file = open(path, O_RDONLY);
    if (file < 0)
        return rf_fail(RF_INPUT, "cannot open '%s': %s. Fetch the file again", path,
                       strerror(errno));
    rf_status status = rf_digest_start(&digest);
    if (status == RF_OK) {
        rf_digest_add(&digest, info->name, strlen(info->name) + 1);
        rf_digest_add(&digest, info->dtype, strlen(info->dtype) + 1);
        rf_digest_add(&digest, info->dim, (size_t)info->dims * sizeof info->dim[0]);
        status = add_bytes(&digest, file, info, path, buffer);
        rf_digest_finish(&digest, hex);
    }
    close(file);
    return status;
}

/* Digests of this rank's share of the tensors; the places of the others stay zero. */
static rf_status share_digests(const rf_safetensors *st, int rank, int size,
                               char (*hex)[RF_DIGEST_BYTES])
{
    char *buffer = malloc(PIECE);
    rf_status status = buffer && hex ? RF_OK : rf_fail(RF_RESOURCES, "no memory for a digest");
    for (int64_t i = rank; i < rf_safetensors_count(st) && status == RF_OK; i += size)
        status = tensor_digest(hex[i], st, rf_safetensors_at(st, i), buffer);
    free(buffer);
    return status;
}

rf_status rf_weights_digest(MPI_Comm comm, const char *path, char *hex)
{
    rf_safetensors *st = NULL;
    int rank = 0, size = 0;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    RF_TRY(rf_model_files_open_all(&st, comm, path));
    const int64_t count = rf_safetensors_count(st);
    char(*all)[RF_DIGEST_BYTES] = calloc((size_t)count + 1, sizeof *all);
    rf_status status = rf_agree(comm, share_digests(st, rank, size, all));
    if (status == RF_OK) {
        MPI_Allreduce(MPI_IN_PLACE, all, (int)(count * RF_DIGEST_BYTES), MPI_BYTE, MPI_BOR, comm);
        status = rf_agree(comm, rf_digest_bytes(hex, all, (size_t)count * RF_DIGEST_BYTES));
    }
    free(all);
    rf_safetensors_close(&st);
    return status;
}
