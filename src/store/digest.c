#include "refract/store/digest.h"

#include <openssl/evp.h>

rf_status rf_digest_start(rf_digest *digest)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1) {
        digest->context = context;
        return RF_OK;
    }
    EVP_MD_CTX_free(context);
    digest->context = NULL;
    return rf_fail(RF_RESOURCES, "cannot start a SHA-256 digest (libcrypto). Free some memory");
}

void rf_digest_add(rf_digest *digest, const void *bytes, size_t length)
{
    RF_ASSERT(EVP_DigestUpdate(digest->context, bytes, length) == 1, "%zu bytes", length);
}

void rf_digest_finish(rf_digest *digest, char hex[RF_DIGEST_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    if (!digest->context) return;
    RF_ASSERT(EVP_DigestFinal_ex(digest->context, raw, &length) == 1 && length == 32,
              "digest of %u bytes", length);
    EVP_MD_CTX_free(digest->context);
    digest->context = NULL;
    if (!hex) return;
    for (unsigned int i = 0; i < length; i++) {
        hex[2 * i] = digits[raw[i] >> 4];
        hex[2 * i + 1] = digits[raw[i] & 15];
    }
    hex[2 * length] = '\0';
}

rf_status rf_digest_bytes(char hex[RF_DIGEST_BYTES], const void *bytes, size_t length)
{
    rf_digest digest;
    RF_TRY(rf_digest_start(&digest));
    rf_digest_add(&digest, bytes, length);
    rf_digest_finish(&digest, hex);
    return RF_OK;
}
