#include "refract/linalg/svd.h"

#include <math.h>
#include <stdlib.h>

#include "refract/io/safetensors.h"
#include "rf_test.h"

/* max |u diag(sigma) vt - wanted|. */
static double distance(const double *u, const double *sigma, const double *vt, const double *wanted,
                       int64_t rows, int64_t cols, int64_t r)
{
    double most = 0;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            double sum = 0;
            for (int64_t k = 0; k < r; k++) sum += u[i * r + k] * sigma[k] * vt[k * cols + j];
            const double off = fabs(sum - wanted[i * cols + j]);
            if (!(off <= most)) most = off;
        }
    return most;
}

/* The largest entry of every left vector is positive; all are orthonormal. */
static void check_vectors(const double *u, int64_t rows, int64_t r)
{
    for (int64_t a = 0; a < r; a++) {
        double most = 0;
        for (int64_t i = 0; i < rows; i++)
            if (fabs(u[i * r + a]) > fabs(most)) most = u[i * r + a];
        assert_true(most > 0);
        for (int64_t b = 0; b <= a; b++) {
            double dot = 0;
            for (int64_t i = 0; i < rows; i++) dot += u[i * r + a] * u[i * r + b];
            assert_near(dot, a == b, 0, 1e-13);
        }
    }
}

static void leading__all_terms__give_the_matrix_back(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{7, 19}, {19, 7}, {8, 8}, {1, 5}, {5, 1}};
    for (int s = 0; s < 5; s++) {
        const int64_t rows = shapes[s][0], cols = shapes[s][1], r = rows < cols ? rows : cols;
        double a[160], kept[160], u[160], sigma[20], vt[160];
        for (int64_t i = 0; i < rows * cols; i++)
            kept[i] = a[i] = rf_test_value((uint64_t)s, (uint64_t)i);
        assert_ok(rf_svd_leading(u, sigma, vt, a, rows, cols, r));
        assert_true(distance(u, sigma, vt, kept, rows, cols, r) < 1e-14 * 20);
        check_vectors(u, rows, r);
        for (int64_t k = 1; k < r; k++) assert_true(sigma[k] <= sigma[k - 1]);
    }
}

static void leading__of_a_model_weight__is_what_peft_takes(void **state)
{
    (void)state;
    enum { ROWS = 32, COLS = 64, R = 4, ITEMS = ROWS * COLS };
    skip_without("reference/pissa");
    skip_without("models/stories260K");
    rf_safetensors *model = NULL, *wanted = NULL;
    static double w[ITEMS], product[ITEMS], values[ROWS], u[ROWS * R], sigma[R], vt[R * COLS];
    assert_ok(rf_safetensors_open(&model, rf_shared_path("models/stories260K")));
    assert_ok(rf_safetensors_open(&wanted, rf_shared_path("reference/pissa/pissa.safetensors")));
    const char *name = "model.layers.2.self_attn.k_proj.weight";
    assert_ok(rf_safetensors_load(model, name, RF_F64, w, ITEMS));
    assert_ok(rf_safetensors_load(wanted, "product_f64", RF_F64, product, ITEMS));
    assert_ok(rf_safetensors_load(wanted, "singular_values", RF_F64, values, ROWS));
    assert_ok(rf_svd_leading(u, sigma, vt, w, ROWS, COLS, R));
    assert_true(distance(u, sigma, vt, product, ROWS, COLS, R) < 1e-13);
    for (int k = 0; k < R; k++) assert_near(sigma[k], values[k], 1e-13, 0);
    rf_safetensors_close(&model);
    rf_safetensors_close(&wanted);
}

static const struct CMUnitTest svd[] = {
    cmocka_unit_test(leading__all_terms__give_the_matrix_back),
    cmocka_unit_test(leading__of_a_model_weight__is_what_peft_takes),
};
RF_TEST_MAIN(svd)
