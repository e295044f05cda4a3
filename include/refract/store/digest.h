/** SHA-256 of byte streams, as lower-case hex. */
#ifndef RF_STORE_DIGEST_H
#define RF_STORE_DIGEST_H

#include <stddef.h>

#include "refract/base/status.h"

/** Hex digits of a digest with the final NUL. */
enum { RF_DIGEST_BYTES = 65 };

typedef struct rf_digest {
    void *context; /**< owned between start and finish */
} rf_digest;

/** Starts a digest, which rf_digest_finish must end. RF_RESOURCES. Local. */
rf_status rf_digest_start(rf_digest *digest);

/** Adds bytes; how the stream is cut into calls changes nothing. Local. */
void rf_digest_add(rf_digest *digest, const void *bytes, size_t length);

/** Writes the digest of all bytes added and frees what start took; hex may be NULL. Local. */
void rf_digest_finish(rf_digest *digest, char hex[RF_DIGEST_BYTES]);

/** The digest of one array. RF_RESOURCES. Local. */
rf_status rf_digest_bytes(char hex[RF_DIGEST_BYTES], const void *bytes, size_t length);

#endif
