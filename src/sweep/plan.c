/* The plan: runs with identities, each of a configuration that holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "refract/base/file.h"
#include "refract/method/registry.h"
#include "refract/store/digest.h"

enum { LONGEST_INPUT = 1 << 24 };

rf_status rf_texts_add(rf_texts *texts, const char *text)
{
    if (texts->count == texts->capacity) {
        const int capacity = texts->capacity ? 2 * texts->capacity : 4;
        char **grown = realloc(texts->item, (size_t)capacity * sizeof *grown);
        if (!grown) return rf_fail(RF_RESOURCES, "no memory for the sweep");
        texts->item = grown;
        texts->capacity = capacity;
    }
    texts->item[texts->count] = strdup(text);
    if (!texts->item[texts->count]) return rf_fail(RF_RESOURCES, "no memory for the sweep");
    texts->count++;
    return RF_OK;
}

void rf_texts_free(rf_texts *texts)
{
    for (int i = 0; i < texts->count; i++) free(texts->item[i]);
    free(texts->item);
    *texts = (rf_texts){.count = 0};
}

void rf_sweep_free(rf_sweep *sweep)
{
    for (int64_t i = 0; i < sweep->count; i++) rf_texts_free(&sweep->run[i].set);
    free(sweep->run);
    free(sweep->source);
    free(sweep->base);
    free(sweep->base_text);
    rf_texts_free(&sweep->common);
    rf_texts_free(&sweep->keys);
    sweep->run = NULL;
    sweep->source = sweep->base = sweep->base_text = NULL;
    sweep->count = sweep->capacity = 0;
}

void rf_sweep_describe(const rf_sweep_run *run, char *text, size_t bytes)
{
    size_t at = 0;
    snprintf(text, bytes, "%s", run->set.count ? "" : "the base as it is");
    for (int i = 0; i < run->set.count && at < bytes; i++)
        at += (size_t)snprintf(text + at, bytes - at, "%s%s", i ? " " : "", run->set.item[i]);
}

rf_status rf_sweep_path(const rf_sweep *sweep, int64_t index, const char *area, const char *suffix,
                        char *path)
{
    const int length =
        snprintf(path, PATH_MAX, "%s/%s/%s%s", sweep->folder, area, sweep->run[index].id, suffix);
    if (length < PATH_MAX) return RF_OK;
    return rf_fail(RF_USAGE, "the path %.200s... is too long. Choose a shorter folder",
                   sweep->folder);
}

rf_status rf_sweep_identity(const rf_config *config, char id[RF_SWEEP_ID_BYTES])
{
    char hex[RF_DIGEST_BYTES];
    char *text = rf_config_changed(config);
    if (!text) return rf_fail(RF_RESOURCES, "no memory for the configuration's text");
    const char *begin = text;
    if (strncmp(begin, "output: ", 8) == 0) begin += strcspn(begin, "\n") + 1; /* the first key */
    const rf_status status = rf_digest_bytes(hex, begin, strlen(begin));
    free(text);
    RF_TRY(status);
    snprintf(id, RF_SWEEP_ID_BYTES, "%.16s", hex);
    return RF_OK;
}

/* The base with the common assignments, those of the run, and its output. */
static rf_status parse_run(const rf_sweep *sweep, const rf_sweep_run *run, rf_config **config)
{
    const int count = sweep->common.count + run->set.count;
    const char **all = calloc((size_t)count + 1, sizeof *all);
    if (!all) return rf_fail(RF_RESOURCES, "no memory for the sweep");
    for (int i = 0; i < sweep->common.count; i++) all[i] = sweep->common.item[i];
    for (int i = 0; i < run->set.count; i++) all[sweep->common.count + i] = run->set.item[i];
    rf_status status = rf_config_parse(config, sweep->base_text, strlen(sweep->base_text),
                                       sweep->base, all, count);
    free(all);
    if (status == RF_OK) status = rf_methods_check(*config);
    if (status == RF_OK) status = rf_config_check(*config);
    if (status != RF_OK) rf_config_destroy(config);
    return status;
}

rf_status rf_sweep_config(const rf_sweep *sweep, int64_t index, rf_config **config)
{
    char id[RF_SWEEP_ID_BYTES], output[PATH_MAX];
    RF_ASSERT(index >= 0 && index < sweep->count, "no run number %lld", (long long)index);
    const rf_sweep_run *run = &sweep->run[index];
    RF_TRY(rf_sweep_path(sweep, index, "runs", "", output));
    RF_TRY(parse_run(sweep, run, config));
    rf_status status = rf_sweep_identity(*config, id);
    if (status == RF_OK && strcmp(id, run->id) != 0)
        status = rf_fail(RF_CONFLICT,
                         "run %lld was planned as %s, but to this refract its configuration is %s "
                         "(%s/manifest.jsonl). Go on with the refract that planned it, or plan "
                         "again",
                         (long long)index, run->id, id, sweep->folder);
    if (status == RF_OK)
        rf_config_resolve_string(*config, "output", output);
    else
        rf_config_destroy(config);
    return status;
}

/* What is wrong with one run, told with what it sets. */
static rf_status blame(const rf_sweep *sweep, int64_t index, rf_status status)
{
    char what[512];
    rf_sweep_describe(&sweep->run[index], what, sizeof what);
    return rf_fail(status, "run %lld of the sweep (%s): %s", (long long)index, what,
                   rf_status_message());
}

static rf_status identify(rf_sweep *sweep)
{
    for (int64_t i = 0; i < sweep->count; i++) {
        rf_config *config = NULL;
        rf_status status = parse_run(sweep, &sweep->run[i], &config);
        if (status == RF_OK) status = rf_sweep_identity(config, sweep->run[i].id);
        rf_config_destroy(&config);
        if (status != RF_OK) return blame(sweep, i, status);
    }
    return RF_OK;
}

typedef struct named {
    const char *id;
    int64_t index;
} named;

static int by_id(const void *a, const void *b)
{
    const named *x = a, *y = b;
    const int order = strcmp(x->id, y->id);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static rf_status find_twins(const rf_sweep *sweep, const named *sorted)
{
    const named *first = NULL; /* pair whose second run comes first */
    for (int64_t i = 1; i < sweep->count; i++)
        if (strcmp(sorted[i - 1].id, sorted[i].id) == 0 &&
            (!first || sorted[i].index < first[1].index))
            first = &sorted[i - 1];
    if (!first) return RF_OK;
    char one[512], two[512];
    rf_sweep_describe(&sweep->run[first[0].index], one, sizeof one);
    rf_sweep_describe(&sweep->run[first[1].index], two, sizeof two);
    return rf_fail(RF_USAGE,
                   "runs %lld (%s) and %lld (%s) are the same run: their effective configurations "
                   "are equal (%s). Remove one",
                   (long long)first[0].index, one, (long long)first[1].index, two, sweep->source);
}

static rf_status check_twins(const rf_sweep *sweep)
{
    named *sorted = calloc((size_t)sweep->count + 1, sizeof *sorted);
    if (!sorted) return rf_fail(RF_RESOURCES, "no memory for the sweep");
    for (int64_t i = 0; i < sweep->count; i++) sorted[i] = (named){sweep->run[i].id, i};
    qsort(sorted, (size_t)sweep->count, sizeof *sorted, by_id);
    const rf_status status = find_twins(sweep, sorted);
    free(sorted);
    return status;
}

static rf_status take_base(rf_sweep *sweep, const sweep_text *from, const char *name)
{
    size_t length = 0;
    RF_TRY(rf_file_read(&sweep->base_text, &length, from->base, LONGEST_INPUT));
    if (strlen(sweep->base_text) != length)
        return rf_fail(RF_USAGE, "a NUL byte inside the base input (%s). Remove it", from->base);
    sweep->base = strdup(from->base);
    sweep->source = strdup(name);
    if (!sweep->base || !sweep->source) return rf_fail(RF_RESOURCES, "no memory for the sweep");
    if (strlen(from->output) >= sizeof sweep->folder)
        return rf_fail(RF_USAGE, "the sweep's output %.200s... is too long (%s). Shorten it",
                       from->output, name);
    snprintf(sweep->folder, sizeof sweep->folder, "%s", from->output);
    return RF_OK;
}

static rf_status take_overrides(rf_sweep *sweep, const sweep_text *from,
                                const char *const *overrides, int override_count)
{
    for (int i = 0; i < from->common.count; i++)
        RF_TRY(rf_texts_add(&sweep->common, from->common.item[i]));
    for (int i = 0; i < override_count; i++) {
        if (strncmp(overrides[i], "output=", 7) == 0)
            return rf_fail(RF_USAGE, "'output' is the sweep's folder, not a key of its runs "
                                     "(command line). Set it in the sweep's file");
        RF_TRY(rf_texts_add(&sweep->common, overrides[i]));
    }
    return RF_OK;
}

static rf_status plan(rf_sweep *sweep, const sweep_text *from, const char *name,
                      const char *const *overrides, int override_count)
{
    RF_TRY(take_base(sweep, from, name));
    RF_TRY(take_overrides(sweep, from, overrides, override_count));
    RF_TRY(sweep_expand(from, sweep));
    RF_TRY(identify(sweep));
    return check_twins(sweep);
}

rf_status rf_sweep_plan(rf_sweep *sweep, const char *text, size_t length, const char *name,
                        const char *const *overrides, int override_count)
{
    sweep_text from = {.points = 0};
    *sweep = (rf_sweep){.folder = ""};
    rf_status status = sweep_text_read(&from, text, length, name);
    if (status == RF_OK) status = plan(sweep, &from, name, overrides, override_count);
    sweep_text_free(&from);
    return status;
}
