#include <stdlib.h>
#include <string.h>

#include "tokenizer_parts.h"

typedef struct reading {
    rf_post *post;
    int64_t size; /* ids of the vocabulary */
} reading;

static rf_status append_special(rf_ids *ids, const json_t *specials, const char *name, int64_t size,
                                rf_place place)
{
    const json_t *special = json_object_get(specials, name), *list = NULL;
    if (!special)
        return rf_fail(RF_INPUT, "special token '%s' of the template is not defined (%s, %s)", name,
                       place.file, place.part);
    RF_TRY(rf_part_array(special, "ids", place, &list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        const json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id >= size)
            return rf_fail(RF_INPUT, "special token '%s' has an id outside the vocabulary (%s, %s)",
                           name, place.file, place.part);
        const int32_t narrow = (int32_t)id;
        RF_TRY(rf_ids_append(ids, &narrow, 1));
    }
    return RF_OK;
}

/* One item of "single": the text's place, or a special token before or behind it. */
static rf_status read_item(rf_post *post, const json_t *item, const json_t *specials, int64_t size,
                           rf_place place, int *texts)
{
    const json_t *sequence = json_object_get(item, "Sequence");
    const json_t *special = json_object_get(item, "SpecialToken");
    rf_bytes name = {0};
    RF_TRY(rf_part_wanted(sequence ? sequence : special, "id", place, &name));
    if (special && !sequence)
        return append_special(*texts ? &post->behind : &post->before, specials, name.at, size,
                              place);
    if (strcmp(name.at, "A") == 0 && ++*texts == 1) return RF_OK;
    return rf_fail(RF_INPUT, "a template for single texts must contain A once and no B (%s, %s)",
                   place.file, place.part);
}

static rf_status read_template(rf_post *post, const json_t *object, int64_t size, rf_place place)
{
    const json_t *items = NULL;
    int texts = 0;
    if (post->given)
        return rf_fail(RF_INPUT, "more than one TemplateProcessing is not supported (%s)",
                       place.file);
    post->given = 1;
    RF_TRY(rf_part_array(object, "single", place, &items));
    for (size_t i = 0; i < json_array_size(items); i++)
        RF_TRY(read_item(post, json_array_get(items, i), json_object_get(object, "special_tokens"),
                         size, place, &texts));
    if (texts == 1) return RF_OK;
    return rf_fail(RF_INPUT, "a template for single texts must contain A (%s, %s)", place.file,
                   place.part);
}

static rf_status read_step(void *context, const json_t *object, const char *kind, rf_place place)
{
    const reading *read = context;
    if (strcmp(kind, "ByteLevel") == 0)
        return RF_OK; /* concerns offsets only, which we do not keep */
    if (strcmp(kind, "TemplateProcessing") == 0)
        return read_template(read->post, object, read->size, place);
    return rf_fail(
        RF_INPUT,
        "a post-processor of kind '%.100s' is not supported (%s). Known are TemplateProcessing, "
        "ByteLevel, Sequence",
        kind, place.file);
}

rf_status rf_post_read(rf_post *post, const json_t *part, int64_t size, rf_place place)
{
    reading read = {post, size};
    return rf_part_steps(part, "processors", place, read_step, &read);
}

void rf_post_free(rf_post *post)
{
    free(post->before.ids);
    free(post->behind.ids);
    *post = (rf_post){0};
}
