/* Generation on any grid: its tokens are those of whole forward passes, whatever the layout, the
 * batch and the other prompts. */
#include "rf_test.h"

#include <math.h>
#include <signal.h>
#include <string.h>

#include "adapted_model.h"
#include "refract/train/generate.h"

enum { PROMPTS = 5, NEW = 9, LONGEST = 20 };

typedef struct fixture {
    adapted_model *model;
    rf_session session;
    rf_generator *generator;
    rf_prompt prompts[PROMPTS];
    int32_t ids[PROMPTS][LONGEST];
    rf_completion completions[PROMPTS];
    rf_generate_figures figures;
    int64_t told[PROMPTS];
    int told_count;
} fixture;

static void create(fixture *f, MPI_Comm comm, int tp, int64_t batch)
{
    static const int64_t lengths[PROMPTS] = {3, 1, 20, 7, 12};
    *f = (fixture){0};
    f->model =
        adapted_model_create(comm, tp, &rf_adapter_dora, (rf_adapter_options){.r = 3, .alpha = 6});
    adapted_model_perturb(f->model);
    f->session = (rf_session){.model = f->model->config,
                              .grid = f->model->grid,
                              .decoder = f->model->decoder,
                              .world = comm};
    for (int64_t i = 0; i < PROMPTS; i++) {
        for (int64_t t = 0; t < lengths[i]; t++)
            f->ids[i][t] = (int32_t)((11 * t + 7 * i + 3) % ADAPTED_VOCAB);
        f->prompts[i] = (rf_prompt){.ids = f->ids[i], .count = lengths[i], .index = i};
    }
    const rf_generator_limits limits = {
        .prompts = PROMPTS, .longest_prompt = LONGEST, .max_new_tokens = NEW, .batch = batch};
    rf_bounds bounds;
    assert_ok(rf_generator_create(&f->generator, &f->session, &limits, &bounds));
    assert_true(bounds.tokens <= ADAPTED_TOKENS && bounds.samples <= ADAPTED_SAMPLES &&
                bounds.length <= ADAPTED_TOKENS);
    assert_ok(rf_generator_allocate(f->generator));
}

static void forget(fixture *f)
{
    for (int i = 0; i < PROMPTS; i++) rf_completion_free(&f->completions[i]);
    f->told_count = 0;
}

static void destroy(fixture *f)
{
    forget(f);
    rf_generator_destroy(&f->generator);
    adapted_model_destroy(f->model);
}

static rf_status tell(void *context, int64_t at, const rf_completion *completion)
{
    fixture *f = context;
    RF_ASSERT(completion->text, "no text");
    f->told[f->told_count++] = at;
    return RF_OK;
}

static rf_status generate(fixture *f, const rf_sampling *sampling, const rf_stop_watch *watch)
{
    const rf_listener listener = {.context = f, .done = tell};
    forget(f);
    return rf_generate(f->generator, f->prompts, PROMPTS, sampling, watch, &listener,
                       f->completions, &f->figures);
}

/* The largest logit behind so many tokens, by a forward pass over all of them. */
static int32_t next_of(adapted_model *m, const int32_t *ids, int64_t count)
{
    const int64_t begin[] = {0, count}, last = count - 1;
    int32_t position[ADAPTED_TOKENS];
    rf_real logits[ADAPTED_VOCAB];
    int32_t most = 0;
    for (int32_t i = 0; i < count; i++) position[i] = i;
    const rf_tokens tokens = {
        .tokens = count, .samples = 1, .begin = begin, .ids = ids, .position = position};
    rf_decoder_forward(m->decoder, &tokens);
    rf_decoder_logits(m->decoder, &last, 1, logits);
    for (int32_t i = 1; i < ADAPTED_VOCAB; i++)
        if (logits[i] > logits[most]) most = i;
    return most;
}

static int is_greedy(fixture *f, int64_t at)
{
    int32_t ids[ADAPTED_TOKENS];
    const rf_completion *c = &f->completions[at];
    int64_t count = f->prompts[at].count;
    int same = c->count == NEW && c->finish == RF_FINISH_LENGTH;
    memcpy(ids, f->ids[at], sizeof f->ids[at]);
    for (int64_t i = 0; i < c->count; i++) {
        same &= next_of(f->model, ids, count) == c->ids[i];
        ids[count++] = c->ids[i];
    }
    return same;
}

static void greedy__with_a_cache__is_the_largest_logit_of_whole_passes(void **state)
{
    (void)state;
    for (int tp = 1; tp <= rf_test_size(); tp *= 2) {
        fixture f;
        const rf_sampling greedy = rf_sampling_greedy(NEW);
        create(&f, MPI_COMM_WORLD, tp, 3);
        assert_ok(generate(&f, &greedy, NULL));
        fixture own; /* passes of this rank's own, since replicas hold all completions */
        create(&own, MPI_COMM_SELF, 1, 1);
        memcpy(own.completions, f.completions, sizeof f.completions);
        for (int64_t i = 0; i < PROMPTS; i++) assert_all(is_greedy(&own, i));
        memset(own.completions, 0, sizeof own.completions);
        assert_all(f.figures.prompt_tokens == 3 + 1 + 20 + 7 + 12);
        assert_all(f.figures.decoded_tokens == PROMPTS * (NEW - 1));
        destroy(&own);
        destroy(&f);
    }
}

static int same(const fixture *a, const fixture *b)
{
    for (int i = 0; i < PROMPTS; i++) {
        const rf_completion *x = &a->completions[i], *y = &b->completions[i];
        if (x->count != y->count || x->finish != y->finish || strcmp(x->text, y->text) != 0 ||
            memcmp(x->ids, y->ids, (size_t)x->count * sizeof *x->ids) != 0)
            return 0;
    }
    return 1;
}

/* Any grid and any batch against one rank that makes one sequence at a time. */
static void sampled__on_any_grid_in_any_batch__is_that_of_prompts_alone(void **state)
{
    (void)state;
    const rf_sampling sampling = {
        .temperature = 1.5, .top_p = 0.95, .top_k = 40, .seed = 5, .max_new_tokens = NEW};
    fixture alone;
    create(&alone, MPI_COMM_SELF, 1, 1);
    assert_ok(generate(&alone, &sampling, NULL));
    for (int tp = 1; tp <= rf_test_size(); tp *= 2)
        for (int64_t batch = 1; batch <= 3; batch++) {
            fixture f;
            create(&f, MPI_COMM_WORLD, tp, batch);
            assert_ok(generate(&f, &sampling, NULL));
            assert_all(same(&f, &alone));
            assert_all(f.told_count == PROMPTS);
            for (int i = 0; i < PROMPTS; i++) assert_all(f.told[i] == i);
            destroy(&f);
        }
    destroy(&alone);
}

static void seeds_and_indices__differ__texts_differ(void **state)
{
    (void)state;
    rf_sampling sampling = {.temperature = 3, .top_p = 1, .seed = 5, .max_new_tokens = NEW};
    fixture a, b;
    create(&a, MPI_COMM_WORLD, 1, 2);
    create(&b, MPI_COMM_WORLD, 1, 2);
    assert_ok(generate(&a, &sampling, NULL));
    assert_ok(generate(&b, &sampling, NULL));
    assert_all(same(&a, &b));
    sampling.seed = 6;
    assert_ok(generate(&b, &sampling, NULL));
    assert_all(!same(&a, &b));
    sampling.seed = 5;
    for (int i = 0; i < PROMPTS; i++) b.prompts[i].index += 100;
    assert_ok(generate(&b, &sampling, NULL));
    assert_all(!same(&a, &b));
    destroy(&a);
    destroy(&b);
}

static void end_token__ends__and_is_not_among_the_tokens(void **state)
{
    (void)state;
    fixture f;
    const rf_sampling greedy = rf_sampling_greedy(NEW);
    create(&f, MPI_COMM_WORLD, 1, 3);
    assert_ok(generate(&f, &greedy, NULL));
    const int32_t end = f.completions[2].ids[4];
    int64_t at = 0;
    while (f.completions[2].ids[at] != end) at++;
    f.session.model.eos[0] = end;
    f.session.model.eos_count = 1;
    assert_ok(generate(&f, &greedy, NULL));
    assert_all(f.completions[2].finish == RF_FINISH_EOS && f.completions[2].count == at);
    destroy(&f);
}

static void signal_to_one_rank__stops_all__and_tells_what_is_whole(void **state)
{
    (void)state;
    fixture f;
    const rf_sampling greedy = rf_sampling_greedy(NEW);
    const rf_stop_watch watch = {0};
    create(&f, MPI_COMM_WORLD, 1, 1);
    rf_stop_install();
    if (rf_test_rank() == rf_test_size() - 1) raise(SIGUSR1);
    const rf_status status = generate(&f, &greedy, &watch);
    rf_stop_forget();
    assert_all(status == RF_STOPPED);
    assert_all(f.told_count == 0 && !f.completions[0].text);
    destroy(&f);
}

static void numbers_that_are_not_finite__fail_everywhere(void **state)
{
    (void)state;
    fixture f;
    const rf_sampling greedy = rf_sampling_greedy(NEW);
    create(&f, MPI_COMM_WORLD, rf_test_size(), 1);
    const rf_param *norm = rf_params_find(&f.model->decoder->params, "model.norm.weight");
    ((rf_real *)norm->data)[0] = (rf_real)NAN;
    const rf_status status = generate(&f, &greedy, NULL);
    assert_all(status == RF_NONFINITE);
    assert_message_has("prompt 0");
    destroy(&f);
}

static const struct CMUnitTest generation[] = {
    cmocka_unit_test(greedy__with_a_cache__is_the_largest_logit_of_whole_passes),
    cmocka_unit_test(sampled__on_any_grid_in_any_batch__is_that_of_prompts_alone),
    cmocka_unit_test(seeds_and_indices__differ__texts_differ),
    cmocka_unit_test(end_token__ends__and_is_not_among_the_tokens),
    cmocka_unit_test(signal_to_one_rank__stops_all__and_tells_what_is_whole),
    cmocka_unit_test(numbers_that_are_not_finite__fail_everywhere),
};
RF_TEST_MAIN(generation)
