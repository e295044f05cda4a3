/* Dropout masks against Philox word by word, and as a function of global columns alone. */
#include "rf_test.h"

#include <string.h>

#include "refract/base/rng.h"
#include "refract/nn/dropout.h"

enum { ROWS = 3, COLS = 700, SEED = 11, STREAM = 0x1234567 };

typedef struct fixture {
    uint64_t key[ROWS];
    rf_dropout dropout;
    rf_real x[ROWS * COLS], out[ROWS * COLS];
} fixture;

static void set_up(fixture *f)
{
    for (int i = 0; i < ROWS; i++) f->key[i] = rf_dropout_row_key(5, i);
    f->dropout = (rf_dropout){.seed = SEED, .row_key = f->key};
    rf_test_fill(f->x, ROWS * COLS, 1);
}

/* The draw of a column: 16 bits of the words of its block, low half first. */
static uint32_t draw(const fixture *f, int64_t row, int64_t col)
{
    const rf_philox_block block = rf_philox(SEED, (uint64_t)(col / 8), f->key[row] ^ STREAM);
    return block.word[col % 8 / 2] >> (col % 2 * 16) & 0xFFFF;
}

static void dropout__against_philox__takes_its_halves_of_words(void **state)
{
    (void)state;
    fixture f;
    const double p = 0.3;
    const uint32_t threshold = (uint32_t)(p * 65536 + 0.5);
    const rf_real scale = (rf_real)(65536.0 / (65536.0 - threshold));
    set_up(&f);
    rf_dropout_apply(f.out, COLS, f.x, COLS, &f.dropout, p, STREAM, 0, ROWS, 0, COLS);
    for (int64_t row = 0; row < ROWS; row++)
        for (int64_t col = 0; col < COLS; col++) {
            const rf_real x = f.x[row * COLS + col];
            const rf_real wanted = draw(&f, row, col) < threshold ? 0 : x * scale;
            assert_memory_equal(&f.out[row * COLS + col], &wanted, sizeof wanted);
        }
}

static void dropout__of_any_columns__is_their_part_of_the_whole(void **state)
{
    (void)state;
    static const int64_t parts[][2] = {{0, 1}, {1, 7}, {5, 200}, {191, 3}, {192, 384}, {699, 1}};
    fixture f;
    rf_real part[COLS];
    set_up(&f);
    rf_dropout_apply(f.out, COLS, f.x, COLS, &f.dropout, 0.1, STREAM, 0, ROWS, 0, COLS);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const int64_t col = parts[i][0], cols = parts[i][1];
        rf_dropout_apply(part, cols, f.x + COLS + col, COLS, &f.dropout, 0.1, STREAM, 1, 1, col,
                         cols);
        assert_memory_equal(part, f.out + COLS + col, (size_t)cols * sizeof *part);
    }
}

static void dropout__over_many_columns__drops_its_share(void **state)
{
    (void)state;
    fixture f;
    int dropped = 0;
    set_up(&f);
    for (int i = 0; i < ROWS * COLS; i++) f.x[i] = 1;
    rf_dropout_apply(f.out, COLS, f.x, COLS, &f.dropout, 0.25, STREAM, 0, ROWS, 0, COLS);
    for (int i = 0; i < ROWS * COLS; i++) dropped += f.out[i] == 0;
    assert_near((double)dropped / (ROWS * COLS), 0.25, 0, 0.04);
}

static const struct CMUnitTest dropout[] = {
    cmocka_unit_test(dropout__against_philox__takes_its_halves_of_words),
    cmocka_unit_test(dropout__of_any_columns__is_their_part_of_the_whole),
    cmocka_unit_test(dropout__over_many_columns__drops_its_share),
};
RF_TEST_MAIN(dropout)
