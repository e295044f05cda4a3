/* SWEEP.yaml into axes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "parts.h"
#include "refract/base/nearest.h"

enum { WHERE_BYTES = 512, VALUE_BYTES = 4096, MOST_SEEDS = 100000 };

typedef struct reading {
    yaml_document_t document;
    const char *name; /* of the file */
    sweep_text *out;
} reading;

typedef struct pair {
    const char *key;
    yaml_node_t *value;
} pair;

static void write_where(const reading *in, const yaml_node_t *node, char where[WHERE_BYTES])
{
    snprintf(where, WHERE_BYTES, "%.400s, line %zu", in->name, node->start_mark.line + 1);
}

static rf_status refuse(const reading *in, const yaml_node_t *node, const char *what,
                        const char *hint)
{
    char where[WHERE_BYTES];
    write_where(in, node, where);
    return rf_fail(RF_USAGE, "%s (%s). %s", what, where, hint);
}

static const char *text_of(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static int length_of(const yaml_node_t *node)
{
    if (node->type == YAML_MAPPING_NODE)
        return (int)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
    if (node->type == YAML_SEQUENCE_NODE)
        return (int)(node->data.sequence.items.top - node->data.sequence.items.start);
    return 0;
}

static yaml_node_t *item_of(reading *in, const yaml_node_t *list, int index)
{
    return yaml_document_get_node(&in->document, list->data.sequence.items.start[index]);
}

/* Entry number `index` of a mapping. */
static rf_status pair_of(reading *in, const yaml_node_t *map, int index, pair *found)
{
    const yaml_node_pair_t *at = map->data.mapping.pairs.start + index;
    const yaml_node_t *key = yaml_document_get_node(&in->document, at->key);
    *found = (pair){.key = text_of(key), .value = yaml_document_get_node(&in->document, at->value)};
    if (!found->key) return refuse(in, key, "a key is not a text", "Write KEY: VALUE lines");
    for (int i = 0; i < index; i++) {
        const yaml_node_t *other =
            yaml_document_get_node(&in->document, map->data.mapping.pairs.start[i].key);
        const char *text = text_of(other);
        char what[WHERE_BYTES];
        if (!text || strcmp(text, found->key) != 0) continue;
        snprintf(what, sizeof what, "'%.200s' is there twice", text);
        return refuse(in, key, what, "Keep one");
    }
    return RF_OK;
}

/* A scalar as it stands after KEY=; in quotes where it would read as something else than this text.
 */
static void write_scalar(FILE *out, const yaml_node_t *node, int is_inner)
{
    const char *text = text_of(node);
    const int plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    const int is_null = !text[0] || strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0;
    if ((plain || !is_null) && !is_inner && !(text[0] && strchr("[{\"'", text[0]))) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static rf_status write_flow(reading *in, FILE *out, const yaml_node_t *node)
{
    const int is_map = node->type == YAML_MAPPING_NODE;
    fputc(is_map ? '{' : '[', out);
    for (int i = 0; i < length_of(node); i++) {
        pair entry = {.value = NULL};
        const yaml_node_t *item = NULL;
        if (i) fputs(", ", out);
        if (is_map) {
            const yaml_node_pair_t *at = node->data.mapping.pairs.start + i;
            RF_TRY(pair_of(in, node, i, &entry));
            write_scalar(out, yaml_document_get_node(&in->document, at->key), 1);
            fputs(": ", out);
            item = entry.value;
        } else {
            item = item_of(in, node, i);
        }
        if (!text_of(item))
            return refuse(in, item, "a value holds more than words and numbers", "Write it flat");
        write_scalar(out, item, 1);
    }
    fputc(is_map ? '}' : ']', out);
    return RF_OK;
}

/* One value as text for an override. */
static rf_status add_value(reading *in, rf_texts *values, const yaml_node_t *node)
{
    char text[VALUE_BYTES];
    FILE *out = fmemopen(text, sizeof text, "w");
    if (!out) return rf_fail(RF_RESOURCES, "no memory for the sweep");
    rf_status status = RF_OK;
    if (text_of(node))
        write_scalar(out, node, 0);
    else
        status = write_flow(in, out, node);
    const long written = ftell(out);
    if (fclose(out) != 0 || written >= (long)sizeof text - 1)
        return refuse(in, node, "a value is too long", "Name a file instead");
    RF_TRY(status);
    return rf_texts_add(values, text);
}

/* Room for a mapping's axes, and the key of one, which must be in the schema. */
static rf_status make_axes(sweep_axes *axes, int count)
{
    axes->item = calloc((size_t)count + 1, sizeof *axes->item);
    return axes->item ? RF_OK : rf_fail(RF_RESOURCES, "no memory for the sweep");
}

static rf_status add_axis(reading *in, sweep_axes *axes, const pair *entry, sweep_axis **axis)
{
    char where[WHERE_BYTES];
    write_where(in, entry->value, where);
    RF_TRY(rf_config_check_key(entry->key, where));
    if (strcmp(entry->key, "output") == 0)
        return refuse(in, entry->value, "'output' cannot be swept",
                      "Every run gets a folder of its own below the sweep's `output`");
    *axis = &axes->item[axes->count];
    (*axis)->key = strdup(entry->key);
    if (!(*axis)->key) return rf_fail(RF_RESOURCES, "no memory for the sweep");
    axes->count++;
    return RF_OK;
}

static rf_status need_mapping(const reading *in, const char *key, const yaml_node_t *node)
{
    char what[WHERE_BYTES];
    if (node->type == YAML_MAPPING_NODE) return RF_OK;
    snprintf(what, sizeof what, "'%s' is not a mapping of keys", key);
    return refuse(in, node, what, "Write e.g. lora.r: [4, 8]");
}

/* KEY: VALUE for each (lists = 0), or KEY: [VALUE, ...]. */
static rf_status read_axes(reading *in, const char *name, sweep_axes *axes, const yaml_node_t *node,
                           int lists)
{
    RF_TRY(need_mapping(in, name, node));
    RF_TRY(make_axes(axes, length_of(node)));
    for (int i = 0; i < length_of(node); i++) {
        pair entry;
        sweep_axis *axis = NULL;
        RF_TRY(pair_of(in, node, i, &entry));
        RF_TRY(add_axis(in, axes, &entry, &axis));
        if (!lists) {
            RF_TRY(add_value(in, &axis->value, entry.value));
            continue;
        }
        if (entry.value->type != YAML_SEQUENCE_NODE || length_of(entry.value) == 0)
            return refuse(in, entry.value, "a key of the grid has no list of values",
                          "Write e.g. lora.r: [4, 8]");
        for (int k = 0; k < length_of(entry.value); k++)
            RF_TRY(add_value(in, &axis->value, item_of(in, entry.value, k)));
    }
    return RF_OK;
}

static rf_status read_set(reading *in, const yaml_node_t *node)
{
    sweep_axes axes = {.count = 0};
    rf_status status = read_axes(in, "set", &axes, node, 0);
    for (int i = 0; status == RF_OK && i < axes.count; i++) {
        char text[VALUE_BYTES + 256];
        snprintf(text, sizeof text, "%.200s=%s", axes.item[i].key, axes.item[i].value.item[0]);
        status = rf_texts_add(&in->out->common, text);
    }
    for (int i = 0; i < axes.count; i++) {
        free(axes.item[i].key);
        rf_texts_free(&axes.item[i].value);
    }
    free(axes.item);
    return status;
}

static rf_status read_list(reading *in, const yaml_node_t *node)
{
    if (node->type != YAML_SEQUENCE_NODE || length_of(node) == 0)
        return refuse(in, node, "'list' is not a list of runs",
                      "Write - {method: lora, lora.r: 8}");
    in->out->point = calloc((size_t)length_of(node), sizeof *in->out->point);
    if (!in->out->point) return rf_fail(RF_RESOURCES, "no memory for the sweep");
    for (int i = 0; i < length_of(node); i++) {
        in->out->points = i + 1;
        RF_TRY(read_axes(in, "list", &in->out->point[i], item_of(in, node, i), 0));
    }
    return RF_OK;
}

static int read_whole(const yaml_node_t *node, int64_t least, int64_t most, int64_t *value)
{
    const char *text = text_of(node);
    char *end = NULL;
    if (!text || !text[0]) return 0;
    *value = strtoll(text, &end, 10);
    return !*end && *value >= least && *value <= most;
}

/* seeds: N is 1 to N; seeds: [a, b] those. */
static rf_status read_seeds(reading *in, const yaml_node_t *node)
{
    int64_t count = 0;
    if (read_whole(node, 1, MOST_SEEDS, &count)) {
        for (int64_t i = 1; i <= count; i++) {
            char text[32];
            snprintf(text, sizeof text, "%lld", (long long)i);
            RF_TRY(rf_texts_add(&in->out->seeds, text));
        }
        return RF_OK;
    }
    if (node->type != YAML_SEQUENCE_NODE || length_of(node) == 0)
        return refuse(in, node, "'seeds' is neither a number nor a list",
                      "Write seeds: 5 for seeds 1 to 5, or seeds: [11, 12]");
    for (int i = 0; i < length_of(node); i++)
        RF_TRY(add_value(in, &in->out->seeds, item_of(in, node, i)));
    return RF_OK;
}

static int read_bounds(reading *in, const yaml_node_t *node, sweep_axis *axis)
{
    if (node->type != YAML_SEQUENCE_NODE || length_of(node) != 2) return 0;
    for (int i = 0; i < 2; i++) {
        const char *text = text_of(item_of(in, node, i));
        char *end = NULL;
        const double value = text ? strtod(text, &end) : NAN;
        if (!text || !text[0] || *end || !isfinite(value)) return 0;
        *(i ? &axis->high : &axis->low) = value;
    }
    return axis->low < axis->high && (axis->draw != DRAW_LOG || axis->low > 0);
}

/* KEY: {choice: [...]} or {uniform|log|integer: [low, high]}. */
static rf_status read_draw(reading *in, const yaml_node_t *node, sweep_axis *axis)
{
    static const char *const names[] = {"", "choice", "uniform", "log", "integer"};
    const char *hint = "Write {choice: [a, b]}, {uniform: [low, high]}, {log: [low, high]} or "
                       "{integer: [low, high]}";
    pair entry;
    if (node->type != YAML_MAPPING_NODE || length_of(node) != 1)
        return refuse(in, node, "a key of the random sample does not say how it is drawn", hint);
    RF_TRY(pair_of(in, node, 0, &entry));
    for (int i = DRAW_CHOICE; i <= DRAW_INTEGER; i++)
        if (strcmp(names[i], entry.key) == 0) axis->draw = (sweep_draw)i;
    if (axis->draw == DRAW_CHOICE && entry.value->type == YAML_SEQUENCE_NODE &&
        length_of(entry.value) > 0) {
        for (int k = 0; k < length_of(entry.value); k++)
            RF_TRY(add_value(in, &axis->value, item_of(in, entry.value, k)));
        return RF_OK;
    }
    if (axis->draw > DRAW_CHOICE && read_bounds(in, entry.value, axis)) return RF_OK;
    return refuse(in, entry.value, "a draw of the random sample is not understood", hint);
}

static rf_status read_random_keys(reading *in, const yaml_node_t *node)
{
    sweep_axes *axes = &in->out->random;
    RF_TRY(need_mapping(in, "random.keys", node));
    RF_TRY(make_axes(axes, length_of(node)));
    for (int i = 0; i < length_of(node); i++) {
        pair entry;
        sweep_axis *axis = NULL;
        RF_TRY(pair_of(in, node, i, &entry));
        RF_TRY(add_axis(in, axes, &entry, &axis));
        RF_TRY(read_draw(in, entry.value, axis));
    }
    return RF_OK;
}

static rf_status read_random(reading *in, const yaml_node_t *node)
{
    RF_TRY(need_mapping(in, "random", node));
    for (int i = 0; i < length_of(node); i++) {
        pair entry;
        RF_TRY(pair_of(in, node, i, &entry));
        int known = 1;
        if (strcmp(entry.key, "samples") == 0)
            known = read_whole(entry.value, 1, 1000000, &in->out->samples);
        else if (strcmp(entry.key, "seed") == 0)
            known = read_whole(entry.value, 0, INT64_MAX, &in->out->random_seed);
        else if (strcmp(entry.key, "keys") == 0)
            RF_TRY(read_random_keys(in, entry.value));
        else
            known = 0;
        if (!known)
            return refuse(in, entry.value, "'random' holds something else than it may",
                          "It has samples: N, seed: N and keys: {KEY: {log: [low, high]}, ...}");
    }
    if (in->out->samples > 0 && in->out->random.count > 0) return RF_OK;
    return refuse(in, node, "'random' needs `samples` and `keys`", "Add what is missing");
}

static rf_status unknown(const reading *in, const pair *entry, const char *const *names)
{
    char what[WHERE_BYTES], hint[WHERE_BYTES];
    rf_nearest search = rf_nearest_start(entry->key);
    for (; *names; names++) rf_nearest_offer(&search, *names);
    snprintf(what, sizeof what, "a sweep has no '%.200s'", entry->key);
    if (search.best)
        snprintf(hint, sizeof hint, "Did you mean '%s'?", search.best);
    else
        snprintf(hint, sizeof hint, "It has base, output, set, grid, list, random and seeds");
    return refuse(in, entry->value, what, hint);
}

static rf_status read_entry(reading *in, const pair *entry)
{
    static const char *const names[] = {"base", "output", "set",   "grid",
                                        "list", "random", "seeds", NULL};
    const char *key = entry->key;
    if (strcmp(key, "set") == 0) return read_set(in, entry->value);
    if (strcmp(key, "grid") == 0) return read_axes(in, key, &in->out->grid, entry->value, 1);
    if (strcmp(key, "list") == 0) return read_list(in, entry->value);
    if (strcmp(key, "random") == 0) return read_random(in, entry->value);
    if (strcmp(key, "seeds") == 0) return read_seeds(in, entry->value);
    char **text = strcmp(key, "base") == 0     ? &in->out->base
                  : strcmp(key, "output") == 0 ? &in->out->output
                                               : NULL;
    if (!text) return unknown(in, entry, names);
    if (!text_of(entry->value) || !text_of(entry->value)[0])
        return refuse(in, entry->value, "`base` and `output` are paths", "Write one");
    *text = strdup(text_of(entry->value));
    return *text ? RF_OK : rf_fail(RF_RESOURCES, "no memory for the sweep");
}

static rf_status read_document(reading *in)
{
    const yaml_node_t *root = yaml_document_get_root_node(&in->document);
    if (!root || root->type != YAML_MAPPING_NODE)
        return rf_fail(RF_USAGE,
                       "not a mapping of keys to values (%s). Write base: INPUT and e.g. "
                       "grid: {lora.r: [4, 8]}",
                       in->name);
    for (int i = 0; i < length_of(root); i++) {
        pair entry;
        RF_TRY(pair_of(in, root, i, &entry));
        RF_TRY(read_entry(in, &entry));
    }
    if (in->out->base && in->out->output) return RF_OK;
    return rf_fail(RF_USAGE, "`%s` is not set (%s). %s", in->out->base ? "output" : "base",
                   in->name,
                   in->out->base ? "It is the sweep's folder" : "It is the input file of all runs");
}

rf_status sweep_text_read(sweep_text *sweep, const char *text, size_t length, const char *name)
{
    reading in = {.name = name, .out = sweep};
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) return rf_fail(RF_RESOURCES, "no memory for the sweep");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    rf_status status = RF_OK;
    if (yaml_parser_load(&parser, &in.document)) {
        status = read_document(&in);
        yaml_document_delete(&in.document);
    } else {
        status = rf_fail(RF_USAGE, "malformed YAML: %s (%s, line %zu). Mend it",
                         parser.problem ? parser.problem : "unreadable", name,
                         parser.problem_mark.line + 1);
    }
    yaml_parser_delete(&parser);
    return status;
}

static void free_axes(sweep_axes *axes)
{
    for (int i = 0; i < axes->count; i++) {
        free(axes->item[i].key);
        rf_texts_free(&axes->item[i].value);
    }
    free(axes->item);
    *axes = (sweep_axes){.count = 0};
}

void sweep_text_free(sweep_text *sweep)
{
    free(sweep->base);
    free(sweep->output);
    rf_texts_free(&sweep->common);
    rf_texts_free(&sweep->seeds);
    free_axes(&sweep->grid);
    free_axes(&sweep->random);
    for (int i = 0; i < sweep->points; i++) free_axes(&sweep->point[i]);
    free(sweep->point);
    *sweep = (sweep_text){.points = 0};
}
