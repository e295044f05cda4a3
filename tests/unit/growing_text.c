/* Text of tokens that come one by one: whole characters, stop texts over their borders. */
#include "rf_test.h"

#include <string.h>

#include "growing_text.h"
#include "tiny_tokenizer.h"

enum { MOST = 64 };

typedef struct growth {
    rf_tokenizer *tokenizer;
    growing_text grown;
    int32_t ids[MOST];
    int64_t count;
    char told[256]; /* what a listener has seen */
} growth;

static growth *start(void)
{
    growth *g = calloc(1, sizeof *g);
    char *json = tiny_tokenizer_json(0);
    const char *config = tiny_tokenizer_config();
    RF_ASSERT(g, "no memory");
    assert_ok(rf_tokenizer_parse(&g->tokenizer, json, strlen(json), config, strlen(config), "t"));
    free(json);
    return g;
}

static void end(growth *g)
{
    growing_text_free(&g->grown);
    rf_tokenizer_destroy(&g->tokenizer);
    free(g);
}

static void take(growth *g, int32_t id, const rf_sampling *sampling, int is_last)
{
    g->ids[g->count++] = id;
    assert_ok(growing_text_take(&g->grown, g->tokenizer, g->ids, g->count, sampling, is_last));
    const size_t sure = growing_text_sure(&g->grown, sampling, is_last || g->grown.stopped);
    assert_true(sure >= g->grown.told);
    if (sure > 0) memcpy(g->told, g->grown.text.bytes, sure);
    g->told[sure] = 0;
    g->grown.told = sure;
}

/* A token for each character, until a stop text is found. */
static void take_text(growth *g, const char *text, const rf_sampling *sampling)
{
    for (; *text && !g->grown.stopped; text++)
        take(g, TINY_CHAR + *text - ' ', sampling, text[1] == 0);
}

static void tokens__one_by_one__make_the_text_of_all(void **state)
{
    (void)state;
    growth *g = start();
    const rf_sampling none = {0};
    char *whole = NULL;
    take_text(g, "a  bc d", &none);
    assert_string_equal(g->told, "a  bc d");
    assert_ok(rf_tokenizer_decode(g->tokenizer, g->ids, g->count, 1, &whole, NULL));
    assert_string_equal(g->grown.text.bytes, whole);
    free(whole);
    end(g);
}

static void bytes_of_a_character__are_told_together(void **state)
{
    (void)state;
    growth *g = start();
    const rf_sampling none = {0};
    static const unsigned char euro[] = {0xE2, 0x82, 0xAC};
    take(g, TINY_CHAR + 'x' - ' ', &none, 0);
    for (int round = 0; round < 2; round++) {
        take(g, TINY_BYTE + euro[0], &none, 0);
        take(g, TINY_BYTE + euro[1], &none, 0);
        assert_string_equal(g->told, round ? "x\xE2\x82\xAC" : "x");
        take(g, TINY_BYTE + euro[2], &none, 0);
    }
    assert_string_equal(g->told, "x\xE2\x82\xAC\xE2\x82\xAC");
    end(g);
}

static void bytes_that_stay_none__end_as_replacements(void **state)
{
    (void)state;
    growth *g = start();
    const rf_sampling none = {0};
    take(g, TINY_CHAR + 'x' - ' ', &none, 0);
    take(g, TINY_BYTE + 0xE2, &none, 0);
    assert_string_equal(g->told, "x");
    take(g, TINY_BYTE + 0x82, &none, 1);
    assert_string_equal(g->told, "x\xEF\xBF\xBD\xEF\xBF\xBD");
    end(g);
}

static void stop_text__over_tokens__is_cut_off_and_never_told(void **state)
{
    (void)state;
    const char *const stops[] = {"cde", "zz"};
    const rf_sampling sampling = {.stop = stops, .stop_count = 2};
    growth *g = start();
    take_text(g, "abcdcd", &sampling);
    assert_string_equal(g->told, "abcdcd"); /* all of it, since it was the last */
    end(g);
    g = start();
    take(g, TINY_AB, &sampling, 0);
    take(g, TINY_CHAR + 'c' - ' ', &sampling, 0);
    assert_string_equal(g->told, "ab");
    take(g, TINY_CHAR + 'd' - ' ', &sampling, 0);
    assert_string_equal(g->told, "ab");
    take(g, TINY_CHAR + 'c' - ' ', &sampling, 0);
    assert_string_equal(g->told, "abcd");
    take(g, TINY_CHAR + 'd' - ' ', &sampling, 0);
    take(g, TINY_CHAR + 'e' - ' ', &sampling, 0);
    assert_int_equal(g->grown.stopped, 1);
    assert_string_equal(g->told, "abcd");
    assert_string_equal(g->grown.text.bytes, "abcd");
    end(g);
}

static void stop_text__within_a_token__cuts_the_token(void **state)
{
    (void)state;
    const char *const stops[] = {"b", "ab"};
    growth *g = start();
    take(g, TINY_AB, &(rf_sampling){.stop = stops, .stop_count = 1}, 0);
    assert_string_equal(g->told, "a");
    end(g);
    g = start(); /* of two that end there, the one that begins first */
    take(g, TINY_AB, &(rf_sampling){.stop = stops, .stop_count = 2}, 0);
    assert_string_equal(g->told, "");
    assert_int_equal(g->grown.stopped, 1);
    end(g);
}

static const struct CMUnitTest growing[] = {
    cmocka_unit_test(tokens__one_by_one__make_the_text_of_all),
    cmocka_unit_test(bytes_of_a_character__are_told_together),
    cmocka_unit_test(bytes_that_stay_none__end_as_replacements),
    cmocka_unit_test(stop_text__over_tokens__is_cut_off_and_never_told),
    cmocka_unit_test(stop_text__within_a_token__cuts_the_token),
};
RF_TEST_MAIN(growing)
