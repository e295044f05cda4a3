/* BeamLoRA's events against the released code's and their own rules. */
#include "rf_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "method_bench.h"
#include "refract/adapter/gate.h"
#include "refract/method/beam.h"

static const int is_double = sizeof(rf_real) == sizeof(double);
enum { MOST = 256 };

static const json_t *at(const json_t *json, const char *key)
{
    return json_object_get(json, key);
}

static double item(const json_t *list, size_t i)
{
    return json_number_value(json_array_get(list, i));
}

static int lists(const json_t *list, int64_t t)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if ((int64_t)item(list, i) == t) return 1;
    return 0;
}

static void threshold__of_stored_runs__is_the_released_schedule(void **state)
{
    (void)state;
    skip_without("reference/methods/beamlora_threshold.json");
    reference data = reference_open("beamlora_threshold");
    const json_t *runs = at(data.json, "runs");
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *run = json_array_get(runs, i), *events = at(run, "events");
        const rf_beam_schedule s = {.interval = (int64_t)json_at(run, "interval"),
                                    .steps = (int64_t)json_at(run, "max_steps"),
                                    .keep = json_at(run, "p0"),
                                    .end = json_at(run, "T_end")};
        for (size_t k = 0; k < json_array_size(events); k++) {
            const json_t *event = json_array_get(events, k);
            assert_near(rf_beam_threshold(&s, (int64_t)item(event, 0)), item(event, 1), 0, 1e-15);
        }
        if (!at(run, "t")) continue;
        for (int64_t t = 1; t <= s.steps; t++) {
            assert_near(rf_beam_threshold(&s, t), item(at(run, "p"), (size_t)t - 1), 0, 1e-15);
            assert_int_equal(rf_beam_is_event(&s, t), lists(at(run, "events_with_p_below_1"), t));
            const int64_t next = (t + s.interval - 1) / s.interval * s.interval;
            assert_int_equal(rf_beam_is_snapshot(&s, t),
                             lists(at(run, "snapshot_after_update"), t) &&
                                 rf_beam_is_event(&s, next));
        }
    }
    reference_close(&data);
}

static void schedule__between_snapshot_and_event__holds_the_snapshot(void **state)
{
    (void)state;
    const rf_beam_schedule s = {.interval = 6, .steps = 24, .keep = 0.8, .end = 16};
    const char *held = "000110000110000000000000"; /* after updates 1 .. 24: events at 6 and 12 */
    for (int64_t t = 1; t <= 24; t++) {
        assert_int_equal(rf_beam_holds_snapshot(&s, t), held[t - 1] - '0');
        assert_true(t == 1 || rf_beam_threshold(&s, t) >= rf_beam_threshold(&s, t - 1));
    }
    assert_near(rf_beam_threshold(&s, 1), 0.8, 0, 1e-15);
    assert_true(rf_beam_threshold(&s, 17) == 1 && rf_beam_threshold(&s, 24) == 1);
}

/* Scores of gates [modules, r], in double whatever rf_real is. */
static void scores_of(double *score, const double *gate, int64_t modules, int64_t r, double tau)
{
    for (int64_t m = 0; m < modules; m++) {
        double most = gate[m * r], sum = 0;
        for (int64_t k = 1; k < r; k++) most = fmax(most, gate[m * r + k]);
        for (int64_t k = 0; k < r; k++)
            sum += score[m * r + k] = exp((gate[m * r + k] - most) / tau);
        for (int64_t k = 0; k < r; k++) score[m * r + k] *= (double)r / sum;
    }
}

static void select__every_stored_set__is_exact(void **state)
{
    (void)state;
    skip_without("reference/methods/beamlora_topp.safetensors");
    reference data = reference_open("beamlora_topp");
    const json_t *cases = at(data.json, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const char *set = json_string_value(at(c, "set"));
        const int64_t modules = (int64_t)json_at(c, "modules"), r = (int64_t)json_at(c, "r");
        double score[MOST], *gate = reference_load(&data, NULL, "%s.g", set);
        double *sigma = reference_load(&data, NULL, "%s.sigma", set);
        int64_t begin[32], order[2 * MOST];
        unsigned char pruned[MOST];
        assert_true(modules * r <= MOST);
        for (int64_t m = 0; m <= modules; m++) begin[m] = m * r;
        scores_of(score, gate, modules, r, json_at(c, "tau"));
        assert_true(relative_error(score, sigma, modules * r) < 1e-13);
        for (int capped = 0; capped < 2; capped++) {
            double *wanted =
                reference_load(&data, NULL, "%s.p%03.0f.%s", set, 100 * json_at(c, "p"),
                               capped ? "ours" : "ours_uncapped");
            const int64_t count =
                rf_beam_select(pruned, score, begin, modules, json_at(c, "p"), capped, order);
            int64_t set_bits = 0;
            for (int64_t k = 0; k < modules * r; k++) {
                assert_int_equal(pruned[k], (int)wanted[k]);
                set_bits += pruned[k];
            }
            assert_int_equal(count, set_bits);
            free(wanted);
        }
        free(gate);
        free(sigma);
    }
    reference_close(&data);
}

static void select__by_hand__prunes_one_of_each(void **state)
{
    (void)state;
    const rf_real gate[2][4] = {{(rf_real)0.02, (rf_real)-0.01, 0, (rf_real)0.03},
                                {0, 0, (rf_real)0.001, (rf_real)-0.08}};
    const int64_t begin[] = {0, 4, 8};
    double score[8], sum = 0;
    int64_t order[16];
    unsigned char pruned[8];
    for (int m = 0; m < 2; m++) rf_gate_scores(score + 4 * m, gate[m], 4, 0.05);
    for (int k = 0; k < 4; k++) sum += score[k];
    assert_near(sum, 4, 1e-14, 0);
    assert_near(score[0], 1.163, 0, 5e-4);
    assert_near(score[7], 0.251, 0, 5e-4);
    assert_int_equal(rf_beam_select(pruned, score, begin, 2, 0.9, 1, order), 2);
    for (int k = 0; k < 8; k++) assert_int_equal(pruned[k], k == 1 || k == 7);
    /* one module alone: its own mass counts, and of two equal scores the lower index stays */
    assert_int_equal(rf_beam_select(pruned, score, begin + 1, 1, 0.9, 1, order), 2);
    for (int k = 4; k < 8; k++) assert_int_equal(pruned[k], k == 5 || k == 7);
    assert_int_equal(rf_beam_select(pruned, score, begin, 2, 1, 1, order), 0);
}

/* 10 modules of 16 equal scores: N - floor(p N) go, fewer where ties meet the cap. */
static void select__of_equal_scores__follows_the_order(void **state)
{
    (void)state;
    double score[160];
    int64_t begin[11], order[320];
    unsigned char pruned[160];
    for (int m = 0; m <= 10; m++) begin[m] = 16 * m;
    for (int k = 0; k < 160; k++) score[k] = 1;
    assert_int_equal(rf_beam_select(pruned, score, begin, 10, 0.8, 0, order), 32);
    for (int k = 0; k < 160; k++) assert_int_equal(pruned[k], k >= 128);
    assert_int_equal(rf_beam_select(pruned, score, begin, 10, 0.8, 1, order), 16);
    for (int k = 128; k < 160; k++) assert_int_equal(pruned[k], k % 16 >= 8);
}

static void pairs__are_one_to_one_and_drawn_by_seed(void **state)
{
    (void)state;
    const double score[8] = {0.2, 3, 0.1, 1.5, 0.4, 1.4, 1.3, 0.1};
    const unsigned char pruned[8] = {1, 0, 1, 0, 0, 0, 0, 1};
    rf_beam_clone pairs[8], again[8], other[8];
    int64_t order[24];
    int differs = 0;
    assert_int_equal(rf_beam_pair_up(pairs, pruned, score, 8, 1, 2, order), 3);
    rf_beam_pair_up(again, pruned, score, 8, 1, 2, order);
    int seen[8] = {0};
    const int64_t slots[] = {0, 2, 7};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pairs[i].pruned, slots[i]);
        assert_int_equal(pairs[i].promising, again[i].promising);
        seen[pairs[i].promising]++;
    }
    assert_true(seen[1] == 1 && seen[3] == 1 && seen[5] == 1);
    for (uint64_t stream = 3; stream < 20; stream++) {
        rf_beam_pair_up(other, pruned, score, 8, 1, stream, order);
        differs |= other[0].promising != pairs[0].promising;
    }
    assert_true(differs);
}

static const struct {
    bench_array array;
    const char *key;
} arrays[] = {{BENCH_VALUE, ""}, {BENCH_M, "m_"}, {BENCH_V, "v_"}};

static void load_state(bench *b, const reference *data, const char *group, int m, int gates)
{
    for (int i = 0; i < 3; i++)
        for (const char *t = gates ? "ABg" : "AB"; *t; t++)
            bench_load(b, arrays[i].array, m, *t, data, "%s.%d.%s%c", group, m, arrays[i].key, *t);
}

static double *delta_w(const bench *b, int m, double tau)
{
    const rf_module *module = &b->module[m];
    const int64_t r = module->r, n = module->d_in;
    double *a = bench_get(b, BENCH_VALUE, m, 'A'), *c = bench_get(b, BENCH_VALUE, m, 'B');
    double *g = bench_get(b, BENCH_VALUE, m, 'g'), sigma[64];
    double *dw = calloc((size_t)(module->d_out * n), sizeof *dw);
    assert_non_null(dw);
    scores_of(sigma, g, 1, r, tau);
    for (int64_t i = 0; i < module->d_out; i++)
        for (int64_t k = 0; k < r; k++)
            for (int64_t j = 0; j < n; j++)
                dw[i * n + j] += module->scaling * c[i * r + k] * sigma[k] * a[k * n + j];
    free(a);
    free(c);
    free(g);
    return dw;
}

static int64_t load_pairs(const reference *data, rf_beam_clone *pairs, const char *key, int m)
{
    int64_t items = 0;
    double *wanted = reference_load(data, &items, "%s.%d", key, m);
    for (int64_t i = 0; i < items / 2; i++)
        pairs[i] = (rf_beam_clone){(int64_t)wanted[2 * i], (int64_t)wanted[2 * i + 1]};
    free(wanted);
    return items / 2;
}

/* A state's arrays against a stored group; which of them depends on the options. */
static void expect_state(const bench *b, const reference *data, const char *group, int m,
                         const char *tensors, double limit)
{
    for (int i = 0; i < 3; i++)
        for (const char *t = tensors; *t; t++)
            assert_true(bench_error(b, arrays[i].array, m, *t, data, "%s.%d.%s%c", group, m,
                                    arrays[i].key, *t) <= limit);
}

typedef struct stored_event {
    const char *name;
    const json_t *json;
    bench b;
    rf_beam_snapshot snapshot;
    rf_arena arena;
    double tau;
} stored_event;

static void open_event(stored_event *e, const reference *data, const json_t *json)
{
    bench_module modules[BENCH_MODULES];
    const json_t *shapes = at(json, "shapes");
    char group[64];
    e->json = json;
    e->name = json_string_value(at(json, "name"));
    e->tau = json_at(json, "tau");
    const int count = (int)json_array_size(shapes);
    for (int m = 0; m < count; m++) {
        const json_t *shape = json_array_get(shapes, (size_t)m);
        modules[m] = (bench_module){(int64_t)json_at(json, "r"), (int64_t)json_at(shape, "n_in"),
                                    (int64_t)json_at(shape, "n_out"), json_at(json, "s")};
    }
    const bench_options options = {.yaml = "{method: lora}",
                                   .comm = MPI_COMM_SELF,
                                   .modules = modules,
                                   .count = count,
                                   .gates = 1};
    assert_ok(bench_open(&e->b, &options));
    assert_ok(rf_beam_snapshot_create(&e->snapshot, &e->b.params, &e->b.modules, 1));
    assert_ok(rf_arena_create(&e->arena, "test", 1 << 20));
    rf_beam_snapshot_layout(&e->snapshot, &e->arena);
    snprintf(group, sizeof group, "%s.snapshot", e->name);
    for (int m = 0; m < count; m++) load_state(&e->b, data, group, m, 0);
    rf_beam_snapshot_take(&e->snapshot);
    snprintf(group, sizeof group, "%s.before", e->name);
    for (int m = 0; m < count; m++) load_state(&e->b, data, group, m, 1);
}

static void close_event(stored_event *e)
{
    rf_beam_snapshot_destroy(&e->snapshot);
    rf_arena_destroy(&e->arena);
    bench_close(&e->b);
}

/* Selection, surgery and jump of one stored event. */
static void check_event(const reference *data, const json_t *json, int averages_scores)
{
    stored_event e = {0};
    open_event(&e, data, json);
    bench *b = &e.b;
    const int64_t r = b->module[0].r, count = b->modules.count;
    const char *variant = averages_scores ? "scoremean" : "intent";
    const rf_beam_options options = {.averages_scores = averages_scores, .temperature = e.tau};
    double *score = reference_load(data, NULL, "%s.scores", e.name);
    double *wanted = reference_load(data, NULL, "%s.pruned_ours", e.name);
    int64_t begin[BENCH_MODULES + 1], order[2 * MOST];
    unsigned char pruned[MOST];
    for (int64_t m = 0; m <= count; m++) begin[m] = m * r;
    rf_beam_select(pruned, score, begin, count, json_at(json, "p"), 1, order);
    for (int64_t k = 0; k < count * r; k++) assert_int_equal(pruned[k], (int)wanted[k]);

    for (int m = 0; m < count; m++) {
        rf_beam_clone pairs[64];
        char key[64], group[64];
        snprintf(key, sizeof key, "%s.pairs_ours", e.name);
        snprintf(group, sizeof group, "%s.intent_after", e.name);
        const int64_t n = load_pairs(data, pairs, key, m);
        double *before = delta_w(b, m, e.tau);
        rf_beam_expand(&b->params, &b->grid, &b->modules, m, &e.snapshot, pairs, n, &options);
        expect_state(b, data, group, m, "AB", is_double ? 0 : 1e-7);
        assert_true(bench_error(b, BENCH_VALUE, m, 'g', data, "%s.%s_after.%d.g", e.name, variant,
                                m) <= (is_double ? 1e-15 : 1e-6));
        double *after = delta_w(b, m, e.tau);
        const int64_t items = b->module[m].d_in * b->module[m].d_out;
        double *dw = reference_load(data, NULL, "%s.dW_%s_after.%d", e.name, variant, m);
        double *jump = reference_load(data, NULL, "%s.jump_%s.%d", e.name, variant, m);
        assert_true(relative_error(after, dw, items) < (is_double ? 1e-13 : 1e-5));
        for (int64_t i = 0; i < items; i++)
            assert_near(after[i] - before[i], jump[i], 0, is_double ? 1e-12 : 1e-5);
        free(before);
        free(after);
        free(dw);
        free(jump);
    }
    if (json_at(json, "p") < 1) {
        rf_beam_forget_gates(&b->params, &b->modules);
        for (int m = 0; m < count; m++) {
            double *moment = bench_get(b, BENCH_M, m, 'g'), *second = bench_get(b, BENCH_V, m, 'g');
            for (int64_t k = 0; k < r; k++) assert_true(moment[k] == 0 && second[k] == 0);
            free(moment);
            free(second);
        }
    }
    free(score);
    free(wanted);
    close_event(&e);
}

static void event__every_stored_state__is_operated_as_intended(void **state)
{
    (void)state;
    skip_without("reference/methods/beamlora_event.safetensors");
    reference data = reference_open("beamlora_event");
    const json_t *cases = at(data.json, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        check_event(&data, json_array_get(cases, i), 0);
        check_event(&data, json_array_get(cases, i), 1);
    }
    assert_int_equal(json_array_size(cases), 6);
    reference_close(&data);
}

/* As released: moments of A and B stay; zero: those of the pruned slots are gone. */
static void event__with_other_moments__keeps_or_zeroes_them(void **state)
{
    (void)state;
    skip_without("reference/methods/beamlora_event.safetensors");
    reference data = reference_open("beamlora_event");
    const json_t *json = json_array_get(at(data.json, "cases"), 2);
    for (int zero = 0; zero < 2; zero++) {
        stored_event e = {0};
        rf_beam_clone pairs[64];
        open_event(&e, &data, json);
        bench *b = &e.b;
        const rf_beam_options options = {.moments = zero ? RF_BEAM_ZERO : RF_BEAM_KEEP,
                                         .temperature = e.tau};
        const int m = 3;
        const int64_t n = load_pairs(&data, pairs, "m4r16.pairs_ours", m);
        assert_true(n > 0);
        double *before = bench_get(b, BENCH_M, m, 'B');
        rf_beam_expand(&b->params, &b->grid, &b->modules, m, &e.snapshot, pairs, n, &options);
        double *after = bench_get(b, BENCH_M, m, 'B');
        for (int64_t i = 0; i < b->module[m].d_out * 16; i++) {
            int slot = 0;
            for (int64_t k = 0; k < n; k++) slot |= pairs[k].pruned == i % 16;
            assert_true(after[i] == (zero && slot ? 0 : before[i]));
        }
        free(before);
        free(after);
        close_event(&e);
    }
    reference_close(&data);
}

/* The net of beamlora_trajectory with its data. */
typedef struct trajectory {
    reference data;
    toy net;
    double *w[3], *x, *y;
} trajectory;

static const bench_module three[] = {{8, 10, 12, 2}, {8, 12, 9, 2}, {8, 9, 6, 2}};

static void open_trajectory(trajectory *t)
{
    t->data = reference_open("beamlora_trajectory");
    t->net = (toy){.layers = 3, .rows = 24, .dim = {10, 12, 9, 6}, .temperature = 0.05};
    for (int i = 0; i < 3; i++)
        t->net.w[i] = t->w[i] = reference_load(&t->data, NULL, "data.W%d", i);
    t->net.x = t->x = reference_load(&t->data, NULL, "data.x");
    t->net.y = t->y = reference_load(&t->data, NULL, "data.y");
}

static void close_trajectory(trajectory *t)
{
    for (int i = 0; i < 3; i++) free(t->w[i]);
    free(t->x);
    free(t->y);
    reference_close(&t->data);
}

static void open_net(bench *b, const trajectory *t, const char *yaml)
{
    const bench_options options = {
        .yaml = yaml, .comm = MPI_COMM_SELF, .steps = 24, .modules = three, .count = 3, .gates = 1};
    assert_ok(bench_open(b, &options));
    for (int m = 0; m < 3; m++) bench_load(b, BENCH_VALUE, m, 'A', &t->data, "init.%d.A", m);
}

/* Gates against `key`; scores by the gates select what the stored run pruned. */
static void stored_event_of_run(trajectory *t, bench *b, const rf_beam_snapshot *snapshot,
                                const rf_beam_schedule *schedule, const rf_beam_options *options,
                                const char *run, int64_t step)
{
    const int64_t begin[] = {0, 8, 16, 24};
    double score[24], *wanted = reference_load(&t->data, NULL, "%s.ev%d.pruned", run, (int)step);
    int64_t order[48];
    unsigned char pruned[24];
    char key[64], group[64];
    snprintf(key, sizeof key, "%s.ev%d.pairs", run, (int)step);
    snprintf(group, sizeof group, "%s.ev%d.after", run, (int)step);
    for (int m = 0; m < 3; m++) {
        double *gate = bench_get(b, BENCH_VALUE, m, 'g');
        scores_of(score + 8 * m, gate, 1, 8, 0.05);
        free(gate);
    }
    rf_beam_select(pruned, score, begin, 3, rf_beam_threshold(schedule, step), 1, order);
    for (int k = 0; k < 24; k++) assert_int_equal(pruned[k], (int)wanted[k]);
    for (int m = 0; m < 3; m++) {
        rf_beam_clone pairs[8];
        const int64_t n = load_pairs(&t->data, pairs, key, m);
        rf_beam_expand(&b->params, &b->grid, &b->modules, m, snapshot, pairs, n, options);
    }
    rf_beam_forget_gates(&b->params, &b->modules);
    for (int m = 0; m < 3; m++) expect_state(b, &t->data, group, m, "ABg", 1e-8);
    free(wanted);
}

static void follow(trajectory *t, const char *run, const rf_beam_options *options)
{
    const rf_beam_schedule schedule = {.interval = 6, .steps = 24, .keep = 0.8, .end = 16};
    double *loss = reference_load(&t->data, NULL, "%s.loss", run), norm;
    rf_beam_snapshot snapshot;
    rf_arena arena;
    char group[64];
    bench b;
    open_net(&b, t, "{method: lora}");
    assert_ok(rf_beam_snapshot_create(&snapshot, &b.params, &b.modules, 1));
    assert_ok(rf_arena_create(&arena, "test", 1 << 20));
    rf_beam_snapshot_layout(&snapshot, &arena);
    for (int64_t step = 1; step <= 24; step++) {
        assert_near(toy_gradient(&t->net, &b, &norm), loss[step - 1], 1e-9, 0);
        bench_step(&b, norm, 1, 1e-2);
        if (rf_beam_is_snapshot(&schedule, step)) rf_beam_snapshot_take(&snapshot);
        if (rf_beam_is_event(&schedule, step))
            stored_event_of_run(t, &b, &snapshot, &schedule, options, run, step);
        if (options->moments == RF_BEAM_KEEP && step == 18) /* released: also where p = 1 */
            rf_beam_forget_gates(&b.params, &b.modules);
    }
    snprintf(group, sizeof group, "%s.final", run);
    for (int m = 0; m < 3; m++) expect_state(&b, &t->data, group, m, "ABg", 1e-8);
    rf_beam_snapshot_destroy(&snapshot);
    rf_arena_destroy(&arena);
    bench_close(&b);
    free(loss);
}

static void trajectory__of_stored_runs__is_followed(void **state)
{
    (void)state;
    skip_without("reference/methods/beamlora_trajectory.safetensors");
    if (!is_double) skip();
    trajectory t;
    open_trajectory(&t);
    follow(&t, "intent", &(rf_beam_options){.temperature = 0.05});
    follow(&t, "scoremean", &(rf_beam_options){.averages_scores = 1, .temperature = 0.05});
    follow(&t, "released", &(rf_beam_options){.moments = RF_BEAM_KEEP, .temperature = 0.05});
    close_trajectory(&t);
}

#define BEAM "{method: beamlora, beam: {interval: 6, keep: 0.8, end: 16, temperature: 0.05"

/* Rows p and q of a global A. */
static int rows_equal(const bench *b, int m, int64_t p, int64_t q)
{
    double *a = bench_get(b, BENCH_VALUE, m, 'A');
    const int64_t n = b->module[m].d_in;
    const int same = memcmp(a + p * n, a + q * n, (size_t)n * sizeof *a) == 0;
    free(a);
    return same;
}

/* Pairs of module m: slots whose row of A differs from `before`, each with its gate's twin. */
static int64_t find_pairs(const bench *b, int m, rf_beam_clone *pairs, const double *before)
{
    const int64_t n = b->module[m].d_in;
    double *gate = bench_get(b, BENCH_VALUE, m, 'g'), *a = bench_get(b, BENCH_VALUE, m, 'A');
    int64_t count = 0;
    for (int64_t p = 0; p < 8; p++) {
        if (memcmp(a + p * n, before + p * n, (size_t)n * sizeof *a) == 0) continue;
        pairs[count] = (rf_beam_clone){p, -1};
        for (int64_t q = 0; q < 8; q++)
            if (q != p && gate[q] == gate[p]) pairs[count].promising = q;
        assert_true(pairs[count++].promising >= 0);
    }
    free(gate);
    free(a);
    return count;
}

/*
 * The hooks' own event: a clone starts from the snapshot, which differs from the rank as it is
 * now, so the two drift apart; gates then take a step of the size that zeroed moments give.
 */
static void hooks__at_an_event__break_the_symmetry(void **state)
{
    (void)state;
    skip_without("reference/methods/beamlora_trajectory.safetensors");
    trajectory t;
    rf_beam_clone pairs[3][8];
    int64_t count[3], found = 0;
    double norm, *before[3], *gate[3];
    bench b;
    open_trajectory(&t);
    open_net(&b, &t, BEAM "}}");
    for (int step = 1; step <= 5; step++) {
        toy_gradient(&t.net, &b, &norm);
        bench_step(&b, norm, 1, 1e-2);
    }
    const rf_method_step sixth = {.number = ++b.steps_done, .scale = 1, .rate = 1e-2};
    toy_gradient(&t.net, &b, &norm);
    rf_methods_update(&b.methods, &sixth, b.gradient);
    for (int m = 0; m < 3; m++) before[m] = bench_get(&b, BENCH_VALUE, m, 'A');
    rf_methods_event(&b.methods, &sixth);
    for (int m = 0; m < 3; m++) {
        count[m] = find_pairs(&b, m, pairs[m], before[m]);
        gate[m] = bench_get(&b, BENCH_VALUE, m, 'g');
        found += count[m];
        for (int64_t i = 0; i < count[m]; i++)
            assert_false(rows_equal(&b, m, pairs[m][i].pruned, pairs[m][i].promising));
        free(before[m]);
    }
    assert_true(found >= 5);
    toy_gradient(&t.net, &b, &norm);
    bench_step(&b, norm, 1, 1e-2);
    const double first = 1e-2 * 0.1 / (1 - pow(0.9, 7)) * sqrt((1 - pow(0.999, 7)) / 0.001);
    for (int m = 0; m < 3; m++) {
        double *after = bench_get(&b, BENCH_VALUE, m, 'g');
        for (int64_t k = 0; k < 8; k++) assert_near(fabs(after[k] - gate[m][k]), first, 2e-3, 0);
        for (int64_t i = 0; i < count[m]; i++)
            assert_false(rows_equal(&b, m, pairs[m][i].pruned, pairs[m][i].promising));
        free(gate[m]);
        free(after);
    }
    bench_close(&b);
    close_trajectory(&t);
}

/* A snapshot equal to the present state would leave both alike for ever. */
static void clones_of_the_present_state__stay_alike(void **state)
{
    (void)state;
    skip_without("reference/methods/beamlora_trajectory.safetensors");
    trajectory t;
    rf_beam_snapshot snapshot;
    rf_arena arena;
    double norm;
    bench b;
    open_trajectory(&t);
    open_net(&b, &t, "{method: lora}");
    assert_ok(rf_beam_snapshot_create(&snapshot, &b.params, &b.modules, 1));
    assert_ok(rf_arena_create(&arena, "test", 1 << 20));
    rf_beam_snapshot_layout(&snapshot, &arena);
    for (int step = 1; step <= 8; step++) {
        toy_gradient(&t.net, &b, &norm);
        bench_step(&b, norm, 1, 1e-2);
        if (step == 4) {
            const rf_beam_options options = {.temperature = 0.05};
            const rf_beam_clone pair = {2, 5};
            rf_beam_snapshot_take(&snapshot);
            rf_beam_expand(&b.params, &b.grid, &b.modules, 1, &snapshot, &pair, 1, &options);
            rf_beam_forget_gates(&b.params, &b.modules);
        }
        assert_int_equal(rows_equal(&b, 1, 2, 5), step >= 4);
    }
    rf_beam_snapshot_destroy(&snapshot);
    rf_arena_destroy(&arena);
    bench_close(&b);
    close_trajectory(&t);
}

/* The state at every step with one way to write the same thing as another. */
static int runs_alike(const char *one, const char *other)
{
    trajectory t;
    bench b[2];
    double norm;
    open_trajectory(&t);
    open_net(&b[0], &t, one);
    open_net(&b[1], &t, other);
    for (int step = 1; step <= 24; step++)
        for (int i = 0; i < 2; i++) {
            toy_gradient(&t.net, &b[i], &norm);
            bench_step(&b[i], norm, 1, 1e-2);
        }
    const size_t bytes = sizeof(rf_real) * (size_t)b[0].params.trained_items;
    const int same = memcmp(b[0].params.value, b[1].params.value, bytes) == 0;
    for (int i = 0; i < 2; i++) bench_close(&b[i]);
    close_trajectory(&t);
    return same;
}

static void keys__change_what_they_should(void **state)
{
    (void)state;
    skip_without("reference/methods/beamlora_trajectory.safetensors");
    assert_true(runs_alike(BEAM "}}", BEAM ", scope: global, moments: inherit, gates: logits}}"));
    assert_true(runs_alike(BEAM "}}", "{method: beamlora, beam: {interval: 6, keep: 0.8, "
                                      "end: 0.66666666666666663, temperature: 0.05}}"));
    assert_true(runs_alike(BEAM ", events: false}}", "{method: lora}"));
    assert_false(runs_alike(BEAM "}}", "{method: lora}"));
    assert_false(runs_alike(BEAM "}}", BEAM ", gates: scores}}"));
    assert_false(runs_alike(BEAM "}}", BEAM ", moments: zero}}"));
    assert_false(runs_alike(BEAM "}}", BEAM ", moments: keep}}"));
    assert_false(runs_alike(BEAM "}}", BEAM ", scope: module}}"));
    assert_false(runs_alike(BEAM "}}", BEAM "}, train: {seed: 7}}"));
}

static rf_status open_with(const char *yaml, int64_t steps, int64_t interval)
{
    const bench_options options = {.yaml = yaml,
                                   .comm = MPI_COMM_SELF,
                                   .steps = steps,
                                   .modules = three,
                                   .count = 1,
                                   .gates = 1};
    bench b;
    const rf_status status = bench_open(&b, &options);
    if (status == RF_OK) assert_int_equal(rf_config_int(b.config, "beam.interval"), interval);
    bench_close(&b);
    return status;
}

static void interval__odd_or_short__is_refused(void **state)
{
    (void)state;
    assert_ok(open_with("{method: beamlora}", 100, 8));
    assert_ok(open_with("{method: beamlora}", 10, 4));
    assert_ok(open_with("{method: beamlora, beam: {interval: 10}}", 100, 10));
    assert_status(open_with("{method: beamlora,\n beam: {interval: 7}}", 100, 0), RF_USAGE);
    assert_message_has("'beam.interval' must be even and at least 4, not 7 (a.yaml, line 2)");
    assert_status(open_with("{method: beamlora, beam: {interval: 2}}", 100, 0), RF_USAGE);
    assert_message_has("not 2");
    assert_status(open_with("{method: beamlora, beam: {interval: 2, events: false}}", 100, 0),
                  RF_USAGE);
}

static const struct CMUnitTest beam[] = {
    cmocka_unit_test(threshold__of_stored_runs__is_the_released_schedule),
    cmocka_unit_test(schedule__between_snapshot_and_event__holds_the_snapshot),
    cmocka_unit_test(select__every_stored_set__is_exact),
    cmocka_unit_test(select__by_hand__prunes_one_of_each),
    cmocka_unit_test(select__of_equal_scores__follows_the_order),
    cmocka_unit_test(pairs__are_one_to_one_and_drawn_by_seed),
    cmocka_unit_test(event__every_stored_state__is_operated_as_intended),
    cmocka_unit_test(event__with_other_moments__keeps_or_zeroes_them),
    cmocka_unit_test(trajectory__of_stored_runs__is_followed),
    cmocka_unit_test(hooks__at_an_event__break_the_symmetry),
    cmocka_unit_test(clones_of_the_present_state__stay_alike),
    cmocka_unit_test(keys__change_what_they_should),
    cmocka_unit_test(interval__odd_or_short__is_refused),
};
RF_TEST_MAIN(beam)
