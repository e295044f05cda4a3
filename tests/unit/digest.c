#include "rf_test.h"

#include "refract/store/digest.h"

/* Test vectors of FIPS 180-2, appendix B. */
static void digest__known_messages__give_the_published_values(void **state)
{
    (void)state;
    char hex[RF_DIGEST_BYTES];
    assert_ok(rf_digest_bytes(hex, "abc", 3));
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_ok(rf_digest_bytes(hex, "", 0));
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void digest__stream_in_pieces__equals_one_call(void **state)
{
    (void)state;
    char bytes[1000], whole[RF_DIGEST_BYTES], pieces[RF_DIGEST_BYTES];
    for (int i = 0; i < 1000; i++) bytes[i] = (char)(i * 37);
    assert_ok(rf_digest_bytes(whole, bytes, sizeof bytes));
    rf_digest digest;
    assert_ok(rf_digest_start(&digest));
    for (size_t at = 0, piece = 1; at < sizeof bytes; at += piece, piece += 7) {
        if (piece > sizeof bytes - at) piece = sizeof bytes - at;
        rf_digest_add(&digest, bytes + at, piece);
    }
    rf_digest_finish(&digest, pieces);
    assert_string_equal(pieces, whole);
}

static const struct CMUnitTest digest[] = {
    cmocka_unit_test(digest__known_messages__give_the_published_values),
    cmocka_unit_test(digest__stream_in_pieces__equals_one_call),
};
RF_TEST_MAIN(digest)
