/** The state of a training run as fields of a checkpoint, and the checks of a resume. */
#ifndef RF_TRAIN_STATE_H
#define RF_TRAIN_STATE_H

#include "refract/base/config.h"
#include "refract/base/log.h"
#include "refract/io/checkpoint.h"
#include "refract/model/params.h"

/**
 * Values and (with_moments) both moments of every trained tensor; *fields is malloc'ed and owned by
 * the caller. Local; RF_RESOURCES.
 */
rf_status rf_state_fields(const rf_params *params, int with_moments, rf_field **fields,
                          int64_t *count);

/** What a checkpoint says of where it comes from. */
typedef struct rf_origin {
    const char *config; /**< the effective configuration, YAML */
    const char *base_digest;
    const char *data_digest;
    const char *command_line;
    const char *hosts; /**< names of the hosts, separated by blanks */
    const char *blas,
        *program; /**< kernels and executable: what the bits hang on besides the input */
    int ranks, threads;
} rf_origin;

enum { RF_ORIGIN_ATTRIBUTES = 11 };

/** The origin as attributes of a file; borrowed from it. Returns their number. Local. */
int rf_origin_attributes(const rf_origin *origin, rf_attribute attributes[RF_ORIGIN_ATTRIBUTES]);

/**
 * A resumed run must be the same run: configuration (but for the keys that may change), base model
 * and data. RF_CONFLICT shows every difference; another BLAS or executable, whose bits may differ,
 * is a warning from root. Local.
 */
rf_status rf_state_check(const rf_checkpoint *checkpoint, const rf_config *config,
                         const rf_origin *origin, rf_log *log);

#endif
