/** Reading side of token stores; rf_samples_write makes them. */
#ifndef RF_DATA_TOKEN_STORE_H
#define RF_DATA_TOKEN_STORE_H

#include "refract/data/samples.h"

/** SHA-256 (hex) over offsets, ids and labels, into samples->digest. RF_RESOURCES. Local. */
rf_status rf_samples_digest(rf_samples *samples);

/**
 * Samples of a token store, the same on all ranks, with the account they were stored with. The
 * caller owns *samples. Collective over comm; RF_INPUT names the file and what is wrong: no token
 * store, damage (its digest is checked), or another tokenizer than `tokenizer` (NULL: not
 * compared).
 */
rf_status rf_token_store_read(rf_samples **samples, MPI_Comm comm, const char *path,
                              const rf_tokenizer *tokenizer);

#endif
