#include "refract/linalg/spectrum.h"

#include <math.h>

#include "refract/linalg/svd.h"
#include "rf_test.h"

static void effective_rank__of_known_spectra(void **state)
{
    (void)state;
    const double equal[] = {2, 2, 2, 2, 0}, one[] = {5, 0, 0}, none[] = {0, 0};
    const double two[] = {3, 1};
    assert_near(rf_effective_rank(equal, 5), 4, 1e-14, 0);
    assert_near(rf_effective_rank(one, 3), 1, 1e-14, 0);
    assert_near(rf_effective_rank(none, 2), 0, 0, 0);
    assert_near(rf_effective_rank(two, 2), exp(-0.75 * log(0.75) - 0.25 * log(0.25)), 1e-14, 0);
}

static void energy_rank__is_the_least_that_holds_the_share(void **state)
{
    (void)state;
    const double sigma[] = {3, 2, 1, 1, 1}; /* squares 9 4 1 1 1 of 16 */
    assert_int_equal(rf_energy_rank(sigma, 5, 0.5), 1);
    assert_int_equal(rf_energy_rank(sigma, 5, 0.8125), 2);
    assert_int_equal(rf_energy_rank(sigma, 5, 0.82), 3);
    assert_int_equal(rf_energy_rank(sigma, 5, 0.99), 5);
    const double none[] = {0, 0};
    assert_int_equal(rf_energy_rank(none, 2, 0.99), 0);
}

static void most_cosine__tells_old_directions_from_new(void **state)
{
    (void)state;
    const double h = sqrt(0.5);
    const double u0[] = {1, 0, 0, -1, 0, 0};         /* [3, 2]: e1, -e2 */
    const double u1[] = {0, h, 0, 1, h, 0, 0, 0, 1}; /* [3, 3]: e2, (e1 + e2) / sqrt 2, e3 */
    double cosine[3];
    rf_most_cosine(cosine, u1, 3, 3, u0, 2, 3);
    assert_near(cosine[0], 1, 1e-15, 0);
    assert_near(cosine[1], h, 1e-15, 0);
    assert_near(cosine[2], 0, 0, 0);
}

static void values__alone__are_those_of_the_whole_factorisation(void **state)
{
    (void)state;
    enum { ROWS = 6, COLS = 9 };
    double a[ROWS * COLS], b[ROWS * COLS], u[ROWS * ROWS], vt[ROWS * COLS], s[ROWS], values[ROWS];
    for (int i = 0; i < ROWS * COLS; i++) a[i] = b[i] = rf_test_value(3, (uint64_t)i);
    assert_ok(rf_svd_leading(u, s, vt, a, ROWS, COLS, ROWS));
    assert_ok(rf_svd_values(values, b, ROWS, COLS));
    for (int k = 0; k < ROWS; k++) assert_near(values[k], s[k], 1e-13, 0);
    b[3] = NAN;
    assert_status(rf_svd_values(values, b, ROWS, COLS), RF_NONFINITE);
    assert_message_has("did not converge");
}

static const struct CMUnitTest spectrum[] = {
    cmocka_unit_test(effective_rank__of_known_spectra),
    cmocka_unit_test(energy_rank__is_the_least_that_holds_the_share),
    cmocka_unit_test(most_cosine__tells_old_directions_from_new),
    cmocka_unit_test(values__alone__are_those_of_the_whole_factorisation),
};
RF_TEST_MAIN(spectrum)
