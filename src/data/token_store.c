#include "token_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mapping.h"
#include "refract/base/file.h"
#include "refract/comm/agree.h"
#include "refract/store/digest.h"
#include "refract/store/h5.h"
#include "rf_version.h"

static const char schema[] = "refract/tokens";
enum { SCHEMA_VERSION = 1, PATH_BYTES = 4096 };

/* Every field of the account is an attribute of its own name. */
#define ACCOUNT_LIST(X)                                                                            \
    X(rows) X(used) X(truncated) X(tokens_lost) X(skipped_empty) X(skipped_limit)

/* SHA-256 over the pieces of all ids: what makes stored ids mean the same again. */
static rf_status digest_tokenizer(const rf_tokenizer *tokenizer, char hex[RF_DIGEST_BYTES])
{
    hex[0] = '\0';
    if (!tokenizer) return RF_OK;
    rf_digest digest;
    RF_TRY(rf_digest_start(&digest));
    for (int64_t id = 0; id < rf_tokenizer_size(tokenizer); id++) {
        const char *piece = rf_tokenizer_piece(tokenizer, (int32_t)id);
        rf_digest_add(&digest, piece ? piece : "", piece ? strlen(piece) + 1 : 0);
        rf_digest_add(&digest, "\n", 1);
    }
    rf_digest_finish(&digest, hex);
    return RF_OK;
}

static rf_status write_array(rf_h5 *file, const char *path, rf_dtype dtype, int64_t n,
                             const void *data, const char *description)
{
    const rf_h5_layout layout = rf_h5_vector(dtype, n);
    char hex[RF_DIGEST_BYTES];
    RF_TRY(rf_digest_bytes(hex, data, (size_t)n * rf_dtype_size(dtype)));
    RF_TRY(rf_h5_create_set(file, path, &layout));
    RF_TRY(rf_h5_describe(file, path, "1", description));
    RF_TRY(rf_h5_put_text(file, path, "sha256", hex));
    return rf_h5_write(file, path, dtype, NULL, NULL, data);
}

static rf_status write_texts(rf_h5 *file, const char *path, int bytes, int64_t n,
                             const char *packed, const char *description)
{
    rf_h5_set *set = NULL;
    const rf_h5_layout layout = {.text = bytes, .dims = 1, .size = {n}};
    RF_TRY(rf_h5_create_set(file, path, &layout));
    RF_TRY(rf_h5_describe(file, path, "1", description));
    RF_TRY(rf_h5_set_open(&set, file, path));
    const rf_status status = rf_h5_set_write_text(set, 0, n, packed);
    rf_h5_set_close(&set);
    return status;
}

static rf_status digest_file(const char *path, char hex[RF_DIGEST_BYTES])
{
    rf_mapping file;
    RF_TRY(rf_mapping_open(&file, path));
    const rf_status status = rf_digest_bytes(hex, file.bytes ? file.bytes : "", file.size);
    rf_mapping_close(&file);
    return status;
}

static rf_status write_sources(rf_h5 *file, const rf_data_options *options)
{
    const size_t n = (size_t)options->path_count, digest = RF_DIGEST_BYTES - 1;
    char *paths = calloc(n, PATH_BYTES), *digests = calloc(n, digest);
    rf_status status =
        paths && digests ? RF_OK : rf_fail(RF_RESOURCES, "no memory for the names of %zu files", n);
    for (size_t i = 0; i < n && status == RF_OK; i++) {
        char hex[RF_DIGEST_BYTES];
        status = digest_file(options->paths[i], hex);
        if (status != RF_OK) break;
        memcpy(digests + i * digest, hex, digest);
        snprintf(paths + i * PATH_BYTES, PATH_BYTES, "%s", options->paths[i]);
    }
    if (status == RF_OK)
        status = write_texts(file, "/sources/path", PATH_BYTES, (int64_t)n, paths, "input files");
    if (status == RF_OK)
        status = write_texts(file, "/sources/sha256", (int)digest, (int64_t)n, digests,
                             "SHA-256 of the input files");
    free(paths);
    free(digests);
    return status;
}

static rf_status write_origin(rf_h5 *file)
{
    char created[32];
    const time_t now = time(NULL);
    struct tm utc;
    strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    RF_TRY(rf_h5_put_text(file, "/", "schema", schema));
    RF_TRY(rf_h5_put_int(file, "/", "schema_version", SCHEMA_VERSION));
    RF_TRY(rf_h5_put_text(file, "/", "software_version", RF_VERSION));
    RF_TRY(rf_h5_put_text(file, "/", "git_commit", RF_GIT_COMMIT));
    return rf_h5_put_text(file, "/", "created_utc", created);
}

static rf_status write_attributes(rf_h5 *file, const rf_samples *samples,
                                  const rf_data_options *options, const rf_tokenizer *tokenizer)
{
    char hex[RF_DIGEST_BYTES];
    RF_TRY(digest_tokenizer(tokenizer, hex));
    RF_TRY(write_origin(file));
    RF_TRY(rf_h5_put_text(file, "/", "digest", samples->digest));
    RF_TRY(rf_h5_put_text(file, "/", "tokenizer_digest", hex));
    RF_TRY(rf_h5_put_text(file, "/", "format", options->format));
    RF_TRY(rf_h5_put_text(file, "/", "template", options->template));
    RF_TRY(rf_h5_put_int(file, "/", "max_length", options->max_length));
    RF_TRY(rf_h5_put_int(file, "/", "max_samples", options->max_samples));
    RF_TRY(rf_h5_put_int(file, "/", "train_on_inputs", options->train_on_inputs));
#define PUT_FIELD(field) RF_TRY(rf_h5_put_int(file, "/", #field, samples->account.field));
    ACCOUNT_LIST(PUT_FIELD)
#undef PUT_FIELD
    return RF_OK;
}

static rf_status write_all(rf_h5 *file, const rf_samples *samples, const rf_data_options *options,
                           const rf_tokenizer *tokenizer)
{
    const int64_t tokens = samples->offset[samples->count];
    RF_TRY(write_attributes(file, samples, options, tokenizer));
    RF_TRY(write_sources(file, options));
    RF_TRY(write_array(file, "/offset", RF_I64, samples->count + 1, samples->offset,
                       "sample i has tokens offset[i] .. offset[i+1]"));
    RF_TRY(write_array(file, "/ids", RF_I32, tokens, samples->ids, "token ids"));
    RF_TRY(write_array(file, "/labels", RF_I32, tokens, samples->labels,
                       "token to be predicted at each place, -100 for none"));
    return RF_FAULT_AT("tokens.write") ? rf_fail(RF_WRITE, "out of disk space (injected)") : RF_OK;
}

static rf_status write_file(const rf_samples *samples, const char *path,
                            const rf_data_options *options, const rf_tokenizer *tokenizer)
{
    char temporary[PATH_BYTES];
    rf_h5 *file = NULL;
    RF_TRY(rf_file_temporary(temporary, sizeof temporary, path));
    RF_TRY(rf_h5_open(&file, temporary, RF_H5_CREATE, MPI_COMM_NULL));
    rf_status status = write_all(file, samples, options, tokenizer);
    const rf_status closed = rf_h5_close(&file);
    if (status == RF_OK) status = closed;
    if (status == RF_OK) return rf_file_publish(temporary, path);
    unlink(temporary);
    return status;
}

rf_status rf_samples_write(const rf_samples *samples, MPI_Comm comm, const char *path,
                           const rf_data_options *options, const rf_tokenizer *tokenizer)
{
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    return rf_agree(comm, rank == 0 ? write_file(samples, path, options, tokenizer) : RF_OK);
}

static rf_status damaged(const char *path, const char *what)
{
    return rf_fail(RF_INPUT, "%s (token store '%s'). Prepare it again", what, path);
}

/* Length of a vector of that type; RF_INPUT when there is something else in its place. */
static rf_status length_of(rf_h5 *file, const char *path, rf_dtype dtype, int64_t *length)
{
    rf_h5_layout layout;
    RF_TRY(rf_h5_layout_of(file, path, &layout));
    if (layout.text || layout.dtype != dtype || layout.dims != 1)
        return rf_fail(RF_INPUT, "'%s' has another type or shape (%s). Prepare it again", path,
                       rf_h5_path(file));
    *length = layout.size[0];
    return RF_OK;
}

static rf_status check_header(rf_h5 *file, const char *path, const char *tokenizer_digest)
{
    char *text = NULL;
    int64_t version = 0;
    if (!rf_h5_is_text(file, "/", "schema")) return damaged(path, "this is no token store");
    RF_TRY(rf_h5_get_text(file, "/", "schema", &text));
    const int same = strcmp(text, schema) == 0;
    free(text);
    if (!same) return damaged(path, "this is no token store");
    RF_TRY(rf_h5_get_int(file, "/", "schema_version", &version));
    if (version != SCHEMA_VERSION) return damaged(path, "its schema version is not 1");
    RF_TRY(rf_h5_get_text(file, "/", "tokenizer_digest", &text));
    const int other = text[0] && tokenizer_digest[0] && strcmp(text, tokenizer_digest) != 0;
    free(text);
    return other ? damaged(path, "it was made with another tokenizer than the model's") : RF_OK;
}

static rf_status check_arrays(const rf_samples *samples, int64_t tokens, const char *path)
{
    const int64_t *offset = samples->offset;
    if (offset[0] != 0 || offset[samples->count] != tokens)
        return damaged(path, "its offsets do not cover its tokens");
    for (int64_t i = 0; i < samples->count; i++)
        if (offset[i + 1] <= offset[i]) return damaged(path, "its offsets do not rise");
    for (int64_t i = 0; i < tokens; i++)
        if (samples->ids[i] < 0 || (samples->labels[i] < 0 && samples->labels[i] != RF_NO_LABEL))
            return damaged(path, "it holds ids that are none");
    return RF_OK;
}

static rf_status check_digest(rf_h5 *file, rf_samples *samples, const char *path)
{
    char *stored = NULL;
    RF_TRY(rf_samples_digest(samples));
    RF_TRY(rf_h5_get_text(file, "/", "digest", &stored));
    const int same = strcmp(stored, samples->digest) == 0;
    free(stored);
    return same ? RF_OK : damaged(path, "its content does not match its digest");
}

static rf_status take_arrays(rf_samples *samples, int64_t offsets, int64_t tokens)
{
    samples->count = offsets - 1;
    samples->offset = malloc((size_t)offsets * sizeof *samples->offset);
    samples->ids = malloc((size_t)tokens * sizeof *samples->ids);
    samples->labels = malloc((size_t)tokens * sizeof *samples->labels);
    if (samples->offset && samples->ids && samples->labels) return RF_OK;
    return rf_fail(RF_RESOURCES, "no memory for %lld stored tokens", (long long)tokens);
}

static rf_status read_all(rf_h5 *file, const char *path, const char *tokenizer_digest,
                          rf_samples *samples)
{
    int64_t offsets = 0, tokens = 0, labels = 0;
    RF_TRY(check_header(file, path, tokenizer_digest));
    RF_TRY(length_of(file, "/offset", RF_I64, &offsets));
    RF_TRY(length_of(file, "/ids", RF_I32, &tokens));
    RF_TRY(length_of(file, "/labels", RF_I32, &labels));
    if (offsets < 2 || tokens < 1 || labels != tokens)
        return damaged(path, "its arrays do not fit");
    RF_TRY(take_arrays(samples, offsets, tokens));
    RF_TRY(rf_h5_read(file, "/offset", RF_I64, NULL, NULL, samples->offset));
    RF_TRY(rf_h5_read(file, "/ids", RF_I32, NULL, NULL, samples->ids));
    RF_TRY(rf_h5_read(file, "/labels", RF_I32, NULL, NULL, samples->labels));
#define GET_FIELD(field) RF_TRY(rf_h5_get_int(file, "/", #field, &samples->account.field));
    ACCOUNT_LIST(GET_FIELD)
#undef GET_FIELD
    RF_TRY(check_arrays(samples, tokens, path));
    return check_digest(file, samples, path);
}

static rf_status read_file(const char *path, const rf_tokenizer *tokenizer, rf_samples *samples)
{
    char hex[RF_DIGEST_BYTES];
    rf_h5 *file = NULL;
    RF_TRY(digest_tokenizer(tokenizer, hex));
    RF_TRY(rf_h5_open(&file, path, RF_H5_READ, MPI_COMM_NULL));
    const rf_status status = read_all(file, path, hex, samples);
    const rf_status closed = rf_h5_close(&file);
    return status == RF_OK ? closed : status;
}

/* Root's array for every rank, which owns its copy even after a failure. */
static rf_status spread(MPI_Comm comm, void *mine, size_t bytes, void **array)
{
    char *at = mine;
    const rf_status status = rf_broadcast_bytes(comm, 0, &at, &bytes);
    *array = at;
    return status;
}

static rf_status spread_samples(MPI_Comm comm, rf_samples *samples)
{
    const rf_samples mine = *samples; /* arrays on root, none elsewhere */
    const size_t tokens = mine.offset ? (size_t)mine.offset[mine.count] : 0;
    void *offset = NULL, *ids = NULL, *labels = NULL;
    MPI_Bcast(samples, (int)sizeof *samples, MPI_BYTE, 0, comm);
    const size_t offsets = (size_t)samples->count + 1;
    rf_status status = spread(comm, mine.offset, offsets * sizeof *samples->offset, &offset);
    if (status == RF_OK) status = spread(comm, mine.ids, tokens * sizeof *samples->ids, &ids);
    if (status == RF_OK)
        status = spread(comm, mine.labels, tokens * sizeof *samples->labels, &labels);
    samples->offset = offset;
    samples->ids = ids ? ids : mine.ids;
    samples->labels = labels ? labels : mine.labels;
    return status;
}

rf_status rf_token_store_read(rf_samples **samples, MPI_Comm comm, const char *path,
                              const rf_tokenizer *tokenizer)
{
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    *samples = calloc(1, sizeof **samples);
    rf_status status = *samples ? RF_OK : rf_fail(RF_RESOURCES, "no memory for the samples");
    if (status == RF_OK && rank == 0) status = read_file(path, tokenizer, *samples);
    status = rf_agree(comm, status);
    if (status == RF_OK) status = spread_samples(comm, *samples);
    if (status != RF_OK) rf_samples_destroy(samples);
    return status;
}
